#include "net/resolve.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* How long an answer counts (ms). getaddrinfo does not say what the zone asks
 * for; half a minute follows a fail-over soon enough. A failure counts shortly,
 * so that a flood of requests for a bad name is no flood of look-ups. */
enum { GOOD_FOR = 30 * 1000, FAILED_FOR = 5 * 1000 };

enum { BUCKETS = 256, NAMES_MAX = 1024 };

/* A name and what is known about it. */
typedef struct {
  uv_getaddrinfo_t request;
  weft_resolver_t *resolver;
  weft_list_t node;    /* in its bucket */
  weft_list_t waiting; /* of weft_lookup_t.node */
  bool pending;        /* the request runs */
  uint64_t expires;    /* ms; once it does not run */
  int status;
  unsigned count;
  weft_address_t addresses[WEFT_ADDRESSES_MAX];
  char name[];
} entry_t;

struct weft_resolver {
  weft_loop_t *loop;
  weft_list_t buckets[BUCKETS]; /* of entry_t.node */
  unsigned count;
  bool closing;
};

weft_resolver_t *weft_resolver_open(weft_loop_t *loop)
{
  weft_resolver_t *resolver = weft_calloc(sizeof(*resolver));
  resolver->loop = loop;
  for (int i = 0; i < BUCKETS; i++)
    weft_list_init(&resolver->buckets[i]);
  return resolver;
}

/* ---- the cache ----------------------------------------------------------- */

static weft_list_t *bucket_of(weft_resolver_t *resolver, const char *name)
{
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (; *name; name++)
    hash = (hash ^ (unsigned char)*name) * 16777619u;
  return &resolver->buckets[hash % BUCKETS];
}

static void forget(entry_t *entry)
{
  weft_list_remove(&entry->node);
  entry->resolver->count--;
  free(entry);
}

/* Drops every answer; what is pending stays. */
static void forget_all(weft_resolver_t *resolver)
{
  for (int i = 0; i < BUCKETS; i++) {
    weft_list_t *bucket = &resolver->buckets[i], *next;
    for (weft_list_t *it = bucket->next; it != bucket; it = next) {
      next = it->next;
      entry_t *entry = WEFT_LIST_ENTRY(it, entry_t, node);
      if (!entry->pending)
        forget(entry);
    }
  }
}

static entry_t *find(weft_resolver_t *resolver, const char *name)
{
  weft_list_t *bucket = bucket_of(resolver, name);
  for (weft_list_t *it = bucket->next; it != bucket; it = it->next) {
    entry_t *entry = WEFT_LIST_ENTRY(it, entry_t, node);
    if (strcmp(entry->name, name) != 0)
      continue;
    if (entry->pending || entry->expires > weft_loop_now(resolver->loop))
      return entry;
    forget(entry);
    break;
  }
  return NULL;
}

static entry_t *add(weft_resolver_t *resolver, const char *name)
{
  if (resolver->count >= NAMES_MAX)
    forget_all(resolver);
  size_t size = strlen(name) + 1;
  entry_t *entry = weft_calloc(sizeof(*entry) + size);
  entry->resolver = resolver;
  memcpy(entry->name, name, size);
  weft_list_init(&entry->waiting);
  weft_list_push(bucket_of(resolver, name), &entry->node);
  resolver->count++;
  return entry;
}

/* ---- look-ups ------------------------------------------------------------ */

static void answer(const entry_t *entry, weft_lookup_t *lookup)
{
  lookup->status = entry->status;
  lookup->count = entry->count;
  memcpy(lookup->addresses, entry->addresses, sizeof(entry->addresses));
}

static void settle(entry_t *entry, int status)
{
  if (status == 0 && entry->count == 0)
    status = UV_EAI_NODATA;
  entry->pending = false;
  entry->status = status;
  entry->expires = weft_loop_now(entry->resolver->loop) +
                   (uint64_t)(status == 0 ? GOOD_FOR : FAILED_FOR);
}

static void
on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
  entry_t *entry = WEFT_LIST_ENTRY(request, entry_t, request);
  weft_resolver_t *resolver = entry->resolver;
  for (struct addrinfo *it = list; it; it = it->ai_next) {
    if (entry->count < WEFT_ADDRESSES_MAX &&
        (it->ai_family == AF_INET || it->ai_family == AF_INET6))
      memcpy(&entry->addresses[entry->count++], it->ai_addr, it->ai_addrlen);
  }
  uv_freeaddrinfo(list);
  settle(entry, status);
  weft_list_t waiting; /* they may ask again, and so forget this entry */
  weft_list_move(&entry->waiting, &waiting);
  for (weft_list_t *it = waiting.next; it != &waiting; it = it->next)
    answer(entry, WEFT_LIST_ENTRY(it, weft_lookup_t, node));
  while (!weft_list_empty(&waiting)) {
    weft_lookup_t *lookup = WEFT_LIST_ENTRY(waiting.next, weft_lookup_t, node);
    weft_list_remove(&lookup->node);
    lookup->on_done(lookup);
  }
  if (resolver->closing)
    weft_resolver_close(resolver);
}

static bool is_number(const char *name, weft_lookup_t *lookup)
{
  if (uv_ip4_addr(name, 0, &lookup->addresses[0].v4) != 0 &&
      uv_ip6_addr(name, 0, &lookup->addresses[0].v6) != 0)
    return false;
  lookup->status = 0;
  lookup->count = 1;
  return true;
}

bool weft_resolver_ask(weft_resolver_t *resolver,
                       const char *name,
                       weft_lookup_t *lookup,
                       void (*on_done)(weft_lookup_t *lookup))
{
  lookup->on_done = on_done;
  weft_list_init(&lookup->node);
  if (is_number(name, lookup))
    return true;
  entry_t *entry = find(resolver, name);
  if (!entry) {
    /* one kind of socket, or each address would come three times */
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                          .ai_socktype = SOCK_STREAM};
    entry = add(resolver, name);
    entry->pending = true;
    int status = uv_getaddrinfo(&resolver->loop->uv, &entry->request, on_answer,
                                name, NULL, &hints);
    if (status != 0) /* a name that is too long, say */
      settle(entry, status);
  }
  if (entry->pending) {
    weft_list_push(&entry->waiting, &lookup->node);
    return false;
  }
  answer(entry, lookup);
  return true;
}

void weft_lookup_cancel(weft_lookup_t *lookup)
{
  weft_list_remove(&lookup->node);
}

void weft_resolver_close(weft_resolver_t *resolver)
{
  forget_all(resolver);
  if (resolver->count == 0) {
    free(resolver);
    return;
  }
  if (resolver->closing)
    return; /* on_answer of the last one comes here again */
  resolver->closing = true;
  for (int i = 0; i < BUCKETS; i++) {
    weft_list_t *bucket = &resolver->buckets[i];
    for (weft_list_t *it = bucket->next; it != bucket; it = it->next)
      uv_cancel((uv_req_t *)&WEFT_LIST_ENTRY(it, entry_t, node)->request);
  }
}
