/* What fuzz_request and fuzz_response share: any bytes, read three ways, must
 * give the same events, and where plain llhttp takes a first message too, it
 * must end where ours does. */
#pragma once

#include "http/parser.h"

#include <stdlib.h>
#include <string.h>

/* Small, so that the fuzzer finds them. */
static const weft_parser_limits_t limits = {600, 100, 12};

/* The events of a run, as one number; and where its first message ended. */
typedef struct {
  uint64_t hash;
  bool in_body;
  bool bodiless;     /* its status has no body, though llhttp may read one */
  bool over;         /* the first message is complete */
  size_t first_end;  /* its length, from the first byte on */
  size_t first_body; /* the length of its body */
} events_t;

static void require(bool condition)
{
  if (!condition)
    abort();
}

static void mix(events_t *events, const void *bytes, size_t len)
{
  const unsigned char *p = bytes;
  for (size_t i = 0; i < len; i++)
    events->hash = (events->hash ^ p[i]) * 0x100000001b3;
}

static void mix_number(events_t *events, uint64_t number)
{
  mix(events, &number, sizeof(number));
}

static void check_head(const weft_head_t *head, events_t *events)
{
  const char *bytes = weft_buf_bytes(&head->bytes);
  require(head->bytes.start == 0 && head->bytes.len <= limits.head_size + 2);
  require(head->header_count <= limits.header_count);
  require(head->target + head->target_len <= head->bytes.len);
  require(head->target_len <= limits.target_size);
  mix(events, bytes, head->bytes.len);
  for (unsigned i = 0; i < head->header_count; i++) {
    weft_header_t h = head->headers[i];
    require(h.name_len && bytes[h.name + h.name_len] == ':');
    require((size_t)h.value + h.value_len <= head->bytes.len);
    require(!memchr(bytes + h.value, '\r', h.value_len));
    require(!memchr(bytes + h.value, '\n', h.value_len));
    require(!memchr(bytes + h.value, '\0', h.value_len));
    mix_number(events, h.value);
    mix_number(events, h.value_len);
  }
  mix_number(events, head->body);
  mix_number(events, head->content_length);
  mix_number(events, (uint64_t)head->status << 32 | head->method << 8 |
                         head->keep_alive << 2 | head->upgrade << 1 |
                         head->expect_continue);
}

static void
take(weft_parser_t *parser, weft_parsed_t parsed, size_t at, events_t *events)
{
  if (parsed == WEFT_PARSED_MORE)
    return;
  if (parsed != WEFT_PARSED_BODY || !events->in_body)
    mix_number(events, parsed);
  events->in_body = parsed == WEFT_PARSED_BODY;
  if (parsed == WEFT_PARSED_HEAD) {
    uint16_t status = parser->head.status;
    check_head(&parser->head, events);
    if (!events->over && parser->type == HTTP_RESPONSE)
      events->bodiless = status < 200 || status == 204 || status == 304;
  }
  if (parsed == WEFT_PARSED_BODY) {
    mix(events, parser->body, parser->body_len);
    events->first_body += events->over ? 0 : parser->body_len;
  }
  if (parsed == WEFT_PARSED_END && !events->over) {
    events->over = true;
    events->first_end = at;
  }
  if (parsed == WEFT_PARSED_ERROR) {
    require(parser->reason != NULL);
    mix_number(events, parser->status);
    mix(events, parser->reason, strlen(parser->reason));
  }
}

/* Pieces of `step` bytes, or of lengths that `seed` decides when it is 0. */
static events_t read_all(llhttp_type_t type,
                         const char *data,
                         size_t len,
                         size_t step,
                         uint32_t seed)
{
  weft_parser_t parser;
  events_t events = {.hash = 0xcbf29ce484222325};
  weft_parsed_t parsed = WEFT_PARSED_MORE;
  weft_parser_init(&parser, type, &limits);
  for (size_t at = 0; at < len && parsed != WEFT_PARSED_ERROR;) {
    seed = seed * 1664525 + 1013904223;
    size_t piece = step ? step : 1 + (seed >> 16) % 40;
    if (piece > len - at)
      piece = len - at;
    char *bytes = malloc(piece); /* exact: a byte read beyond it is noticed */
    memcpy(bytes, data + at, piece);
    size_t done = 0, used;
    do {
      parsed = weft_parser_feed(&parser, bytes + done, piece - done, &used);
      require(used <= piece - done);
      done += used;
      take(&parser, parsed, at + done, &events);
    } while (parsed != WEFT_PARSED_MORE && parsed != WEFT_PARSED_ERROR);
    require(parsed == WEFT_PARSED_ERROR || done == piece);
    at += piece;
    free(bytes);
  }
  mix_number(&events, weft_parser_idle(&parser));
  mix_number(&events, weft_parser_finish(&parser));
  weft_parser_deinit(&parser);
  return events;
}

/* The second opinion. */

static int on_plain_body(llhttp_t *llhttp, const char *at, size_t len)
{
  (void)at;
  ((events_t *)llhttp->data)->first_body += len;
  return 0;
}

static int on_plain_complete(llhttp_t *llhttp)
{
  ((events_t *)llhttp->data)->over = true;
  return HPE_PAUSED;
}

static void
ask_llhttp(llhttp_type_t type, const char *data, size_t len, events_t ours)
{
  static const llhttp_settings_t settings = {
      .on_body = on_plain_body, .on_message_complete = on_plain_complete};
  events_t events = {0};
  llhttp_t llhttp;
  llhttp_init(&llhttp, type, &settings);
  llhttp.data = &events;
  llhttp_execute(&llhttp, data, len);
  if (!ours.over || !events.over || ours.bodiless)
    return;
  require(events.first_body == ours.first_body);
  require((size_t)(llhttp_get_error_pos(&llhttp) - data) == ours.first_end);
}

static void fuzz_messages(llhttp_type_t type, const uint8_t *data, size_t len)
{
  const char *bytes = (const char *)data;
  events_t events = read_all(type, bytes, len, len, 0);
  require(read_all(type, bytes, len, 1, 0).hash == events.hash);
  uint32_t seed = (uint32_t)events.hash;
  require(read_all(type, bytes, len, 0, seed).hash == events.hash);
  ask_llhttp(type, bytes, len, events);
}
