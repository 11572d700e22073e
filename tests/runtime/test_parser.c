/* The parser against literal bytes. Every case runs at once, byte by byte, and
 * split in two at every single point, and must give the same trace each time.
 * A trace is a line of words:
 *
 *   GET:/a:1  a request's head: method, target, minor version, then its flags
 *   200:1     a response's head: status, minor version, then its flags
 *   sized=5, chunked, until-close; keep, expect, upgrade      the flags
 *   [hello]   body bytes, glued together however they came
 *   END       the message is complete
 *   !400      refused
 *   idle, cut what weft_parser_finish says behind the last byte */
#include "http/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The defaults of the server. */
static const weft_parser_limits_t defaults = {32768, 8192, 100};
/* For the tests of limits: exact, and quick at every split. */
static const weft_parser_limits_t tight = {100, 20, 3};

typedef struct {
  const char *name; /* a sentence about what the parser does */
  const char *bytes;
  size_t len;
  const char *trace;
} case_t;

#define CASE(name, bytes, trace)                                               \
  {                                                                            \
    name, bytes, sizeof(bytes) - 1, trace                                      \
  }

/* How to read a case. */
typedef struct {
  llhttp_type_t type;
  const weft_parser_limits_t *limits;
  bool no_body;     /* the first response answers HEAD */
  bool show_fields; /* {name=value} for each header, in traces */
} reading_t;

typedef struct {
  char text[8192];
  size_t len;
  bool in_body;
} trace_t;

static void put(trace_t *trace, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put(trace_t *trace, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  int len = vsnprintf(trace->text + trace->len,
                      sizeof(trace->text) - trace->len, format, args);
  va_end(args);
  trace->len += (size_t)len;
  assert_true(trace->len < sizeof(trace->text));
}

static void leave_body(trace_t *trace)
{
  if (trace->in_body)
    put(trace, "]");
  trace->in_body = false;
}

static void
put_head(trace_t *trace, const weft_parser_t *parser, const reading_t *mode)
{
  const weft_head_t *head = &parser->head;
  const char *bytes = weft_buf_bytes(&head->bytes);
  if (mode->type == HTTP_REQUEST)
    put(trace, " %s:%.*s:%d", llhttp_method_name(head->method),
        (int)head->target_len, bytes + head->target, head->minor);
  else
    put(trace, " %d:%d", head->status, head->minor);
  for (unsigned i = 0; mode->show_fields && i < head->header_count; i++) {
    const weft_header_t *header = &head->headers[i];
    put(trace, "{%.*s=%.*s}", (int)header->name_len, bytes + header->name,
        (int)header->value_len, bytes + header->value);
  }
  if (head->body == WEFT_BODY_SIZED)
    put(trace, " sized=%llu", (unsigned long long)head->content_length);
  put(trace, "%s%s%s%s%s", head->body == WEFT_BODY_CHUNKED ? " chunked" : "",
      head->body == WEFT_BODY_UNTIL_CLOSE ? " until-close" : "",
      head->keep_alive ? " keep" : "", head->expect_continue ? " expect" : "",
      head->upgrade ? " upgrade" : "");
}

static void put_event(trace_t *trace,
                      const weft_parser_t *parser,
                      const reading_t *mode,
                      weft_parsed_t parsed)
{
  if (parsed == WEFT_PARSED_BODY) {
    if (!trace->in_body)
      put(trace, " [");
    trace->in_body = true;
    assert_true(parser->body_len > 0);
    put(trace, "%.*s", (int)parser->body_len, parser->body);
    return;
  }
  if (parsed != WEFT_PARSED_MORE)
    leave_body(trace);
  if (parsed == WEFT_PARSED_HEAD)
    put_head(trace, parser, mode);
  if (parsed == WEFT_PARSED_END)
    put(trace, " END");
  if (parsed == WEFT_PARSED_ERROR) {
    assert_non_null(parser->reason);
    put(trace, " !%d", parser->status);
  }
}

/* Feeds one piece, in memory of exactly its size so that a byte read beyond it
 * is noticed; false once refused. */
static bool feed_piece(weft_parser_t *parser,
                       const reading_t *mode,
                       trace_t *trace,
                       const char *bytes,
                       size_t len)
{
  char *piece = malloc(len);
  memcpy(piece, bytes, len);
  size_t done = 0, used = 0;
  weft_parsed_t parsed;
  do {
    parsed = weft_parser_feed(parser, piece + done, len - done, &used);
    assert_true(used <= len - done);
    done += used;
    put_event(trace, parser, mode, parsed);
    if (parsed == WEFT_PARSED_MORE)
      assert_int_equal(done, len);
  } while (parsed != WEFT_PARSED_ERROR && parsed != WEFT_PARSED_MORE);
  free(piece);
  return parsed != WEFT_PARSED_ERROR;
}

/* Reads it all in a first piece of `first` bytes and the rest in pieces of
 * `step`. Returns the trace, good until the next call. */
static const char *run(const reading_t *mode,
                       const char *bytes,
                       size_t len,
                       size_t first,
                       size_t step)
{
  static trace_t trace;
  weft_parser_t parser;
  trace.len = 0;
  trace.in_body = false;
  weft_parser_init(&parser, mode->type, mode->limits);
  if (mode->no_body)
    weft_parser_expect_no_body(&parser);
  size_t done = 0, piece = first;
  bool fine = true;
  while (fine && done < len) {
    if (piece > len - done)
      piece = len - done;
    fine = feed_piece(&parser, mode, &trace, bytes + done, piece);
    done += piece;
    piece = step;
  }
  weft_parsed_t parsed = weft_parser_finish(&parser);
  leave_body(&trace);
  if (!fine)
    assert_int_equal(parsed, WEFT_PARSED_ERROR);
  else if (parsed == WEFT_PARSED_END)
    put(&trace, " END");
  else
    put(&trace, parsed == WEFT_PARSED_MORE ? " idle" : " cut");
  weft_parser_deinit(&parser);
  return trace.text + 1;
}

static void expect(const reading_t *mode,
                   const char *name,
                   const char *bytes,
                   size_t len,
                   const char *expected)
{
  /* for large inputs not every point, but a step that is prime */
  size_t step = len <= 2048 ? 1 : 997;
  const char *trace = run(mode, bytes, len, len, 1);
  if (strcmp(trace, expected))
    fail_msg("%s: at once\n  got      %s\n  expected %s", name, trace,
             expected);
  trace = run(mode, bytes, len, 1, 1);
  if (strcmp(trace, expected))
    fail_msg("%s: byte by byte\n  got      %s\n  expected %s", name, trace,
             expected);
  for (size_t split = 1; split < len; split += step) {
    trace = run(mode, bytes, len, split, len);
    if (strcmp(trace, expected))
      fail_msg("%s: split at %zu\n  got      %s\n  expected %s", name, split,
               trace, expected);
  }
}

static void expect_all(reading_t mode, const case_t *cases, size_t count)
{
  for (size_t i = 0; i < count; i++)
    expect(&mode, cases[i].name, cases[i].bytes, cases[i].len, cases[i].trace);
}

#define REQUESTS(cases)                                                        \
  expect_all((reading_t){HTTP_REQUEST, &defaults, false, false}, (cases),      \
             sizeof(cases) / sizeof(*(cases)))
#define RESPONSES(cases)                                                       \
  expect_all((reading_t){HTTP_RESPONSE, &defaults, false, false}, (cases),     \
             sizeof(cases) / sizeof(*(cases)))

static void accepts_requests_and_finds_where_they_end(void **state)
{
  (void)state;
  static const case_t cases[] = {
      CASE("a GET has no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET:/:1 keep END idle"),
      CASE("pipelined requests come one after another",
           "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n"
           "Content-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET:/1:1 keep END POST:/2:1 sized=3 keep [abc] END "
           "GET:/3:1 keep END idle"),
      CASE("a body ends with its last byte",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
           "POST:/:1 sized=5 keep [hello] END idle"),
      CASE("a length of 0 is a body of no bytes",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
           "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
           "POST:/:1 sized=0 keep END GET:/:1 keep END idle"),
      CASE("leading zeros are digits",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0003\r\n\r\nabc",
           "POST:/:1 sized=3 keep [abc] END idle"),
      CASE("the largest length",
           "POST / HTTP/1.1\r\nHost: a\r\n"
           "Content-Length: 9223372036854775807\r\n\r\nx",
           "POST:/:1 sized=9223372036854775807 keep [x] cut"),
      CASE("HTTP/1.0 closes, and needs no Host", "GET / HTTP/1.0\r\n\r\n",
           "GET:/:0 END idle"),
      CASE("HTTP/1.0 stays when asked to",
           "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
           "GET:/:0 keep END idle"),
      CASE("HTTP/1.1 closes when asked to",
           "GET / HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n\r\n",
           "GET:/:1 END idle"),
      CASE("close is found among other tokens",
           "GET / HTTP/1.1\r\nHost: a\r\nConnection: x,\t Close\t ,y\r\n\r\n",
           "GET:/:1 END idle"),
      CASE("close is found on a second line",
           "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n"
           "connection: close\r\n\r\n",
           "GET:/:1 END idle"),
      CASE("a tab behind close is not part of it",
           "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\t\r\n\r\n",
           "GET:/:1 END idle"),
      CASE("a token that begins with close is another",
           "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed, xclose\r\n\r\n",
           "GET:/:1 keep END idle"),
      CASE("tabs around a length are not part of it",
           "POST / HTTP/1.1\r\nHost:\ta\t\r\nContent-Length:\t 3 \t\r\n\r\nabc",
           "POST:/:1 sized=3 keep [abc] END idle"),
      CASE("tabs around a coding are not part of it",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\t\r\n\r\n"
           "0\r\n\r\n",
           "POST:/:1 chunked keep END idle"),
      CASE("chunked in any case",
           "POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING: cHUNked\r\n\r\n"
           "0\r\n\r\n",
           "POST:/:1 chunked keep END idle"),
      CASE("minor versions above 1 are 1",
           "GET / HTTP/1.9\r\nHost: a\r\n\r\nGET / HTTP/1.2\r\nHost: a\r\n\r\n",
           "GET:/:1 keep END GET:/:1 keep END idle"),
      CASE("a minor version above 1 needs a Host too", "GET / HTTP/1.2\r\n\r\n",
           "!400"),
      CASE("one empty line before a request",
           "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET:/:1 keep END idle"),
      CASE("one empty line before each request",
           "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
           "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
           "POST:/:1 sized=1 keep [x] END GET:/:1 keep END idle"),
      CASE("a connection that ends inside the empty line was idle",
           "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r", "GET:/:1 keep END idle"),
      CASE("Expect asks for 100",
           "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
           "Expect: 100-Continue\t\r\n\r\nx",
           "PUT:/:1 sized=1 keep expect [x] END idle"),
      CASE("Expect without a body asks for nothing",
           "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
           "GET:/:1 keep END idle"),
      CASE("Expect in HTTP/1.0 is ignored",
           "PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
           "x",
           "PUT:/:0 sized=1 [x] END idle"),
      CASE("bytes behind an Upgrade are the next request",
           "GET /1 HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n"
           "Connection: Upgrade\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET:/1:1 keep upgrade END GET:/2:1 keep END idle"),
      CASE("an Upgrade may have a body",
           "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nContent-Length: 2\r\n"
           "Connection: keep-alive, upgrade\r\n\r\nabGET / HTTP/1.1\r\n"
           "Host: a\r\n\r\n",
           "POST:/:1 sized=2 keep upgrade [ab] END GET:/:1 keep END idle"),
      CASE("Upgrade without Connection: upgrade is nothing",
           "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n\r\n",
           "GET:/:1 keep END idle"),
      CASE("Upgrade in HTTP/1.0 is nothing",
           "GET / HTTP/1.0\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n",
           "GET:/:0 END idle"),
      CASE("names as long as those that matter",
           "GET / HTTP/1.1\r\nHost: a\r\nLink: b\r\nCookie: tea\r\n"
           "Connection: upgrade\r\nReferer: x\r\nUser-Agent: close\r\n"
           "Accept-Charset: 5\r\nIf-Modified-Since: chunked\r\n\r\n",
           "GET:/:1 keep END idle"),
      CASE("methods other than GET",
           "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"
           "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n",
           "M-SEARCH:/:1 keep END PATCH:/:1 keep END idle"),
      CASE("bytes above ASCII in a value",
           "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\xff\r\n\r\n",
           "GET:/:1 keep END idle"),
      CASE("a request that stops half-way is cut", "GET / HTTP/1.1\r\nHost: a",
           "cut"),
      CASE("a body that stops half-way is cut",
           "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
           "PUT:/:1 sized=3 keep [ab] cut"),
  };
  REQUESTS(cases);
}

static void reports_headers_as_they_came(void **state)
{
  (void)state;
  static const case_t cases[] = {
      CASE("names as sent, values without white space around them",
           "GET /x HTTP/1.1\r\nHOST:a\r\nX-Two: 1 \t 2\t\r\nempty:\r\n"
           "blank: \t \r\nx-two:\t3\r\n!#$%&'*+-.^_`|~09azAZ: t\r\n\r\n",
           "GET:/x:1{HOST=a}{X-Two=1 \t 2}{empty=}{blank=}{x-two=3}"
           "{!#$%&'*+-.^_`|~09azAZ=t} keep END idle"),
      CASE("no header of the message before",
           "GET /x HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n"
           "GET /y HTTP/1.1\r\nHost: b\r\n\r\n",
           "GET:/x:1{Host=a}{A=1} keep END GET:/y:1{Host=b} keep END idle"),
      CASE("trailers are no headers",
           "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
           "1\r\nx\r\n0\r\nHost: b\r\nA: 2\r\n\r\n",
           "PUT:/:1{Host=a}{Transfer-Encoding=chunked} chunked keep [x] "
           "END idle"),
  };
  expect_all((reading_t){HTTP_REQUEST, &defaults, false, true}, cases,
             sizeof(cases) / sizeof(*cases));
}

static void finds_headers_by_name(void **state)
{
  (void)state;
  static const char bytes[] = "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n"
                              "x-one: 2\r\nX-On: 3\r\n\r\n";
  weft_parser_t parser;
  size_t used, len = 77;
  weft_parser_init(&parser, HTTP_REQUEST, &defaults);
  assert_int_equal(weft_parser_feed(&parser, bytes, sizeof(bytes) - 1, &used),
                   WEFT_PARSED_HEAD);
  const char *value = weft_head_find(&parser.head, "x-one", 5, &len);
  assert_int_equal(len, 1);
  assert_memory_equal(value, "1", 1);
  assert_null(weft_head_find(&parser.head, "x-on_", 5, &len));
  assert_int_equal(weft_head_count(&parser.head, "x-one", 5), 2);
  assert_int_equal(weft_head_count(&parser.head, "x-on", 4), 1);
  assert_int_equal(weft_head_count(&parser.head, "cookie", 6), 0);
  weft_parser_deinit(&parser);
}

static void refuses_malformed_request_lines(void **state)
{
  (void)state;
#define HOST "\r\nHost: a\r\n\r\n"
  static const case_t cases[] = {
      CASE("no target", "GET HTTP/1.1" HOST, "!400"),
      CASE("an empty target", "GET  HTTP/1.1" HOST, "!400"),
      CASE("two spaces before the target", "GET  / HTTP/1.1" HOST, "!400"),
      CASE("two spaces before the version", "GET /  HTTP/1.1" HOST, "!400"),
      CASE("a tab between", "GET\t/ HTTP/1.1" HOST, "!400"),
      CASE("a tab before the version", "GET /\tHTTP/1.1" HOST, "!400"),
      CASE("a space in the target", "GET /a b HTTP/1.1" HOST, "!400"),
      CASE("a NUL in the target", "GET /a\0b HTTP/1.1" HOST, "!400"),
      CASE("DEL in the target", "GET /a\x7f HTTP/1.1" HOST, "!400"),
      CASE("UTF-8 in the target", "GET /\xc3\xa9 HTTP/1.1" HOST, "!400"),
      CASE("a CR in the target", "GET /a\rb HTTP/1.1" HOST, "!400"),
      CASE("a space at the end", "GET / HTTP/1.1 " HOST, "!400"),
      CASE("a space at the start", " GET / HTTP/1.1" HOST, "!400"),
      CASE("a method that is no token", "G@T / HTTP/1.1" HOST, "!400"),
      CASE("a colon in the method", "GET: / HTTP/1.1" HOST, "!400"),
      CASE("a NUL before the method", "\0GET / HTTP/1.1" HOST, "!400"),
      CASE("lower-case http", "GET / http/1.1" HOST, "!400"),
      CASE("another protocol", "GET / RTSP/1.0" HOST, "!400"),
      CASE("another protocol's first letter", "GET / ICE/1.0" HOST, "!400"),
      CASE("a protocol with more letters", "GET / HTTPS/1.1" HOST, "!400"),
      CASE("no slash", "GET / HTTP1.1" HOST, "!400"),
      CASE("a version of two digits", "GET / HTTP/1.10" HOST, "!400"),
      CASE("a version that is padded", "GET / HTTP/01.1" HOST, "!400"),
      CASE("a version without a minor", "GET / HTTP/1" HOST, "!400"),
      CASE("a comma in the version", "GET / HTTP/1,1" HOST, "!400"),
      CASE("a letter in the version", "GET / HTTP/1.x" HOST, "!400"),
      CASE("HTTP/0.9", "GET /\r\n", "!400"),
      CASE("HTTP/0.9 with LF", "GET /\n", "!400"),
      CASE("HTTP/0.9 with a space behind", "GET / \r\n\r\n", "!400"),
      CASE("LF at the line's end", "GET / HTTP/1.1\nHost: a\r\n\r\n", "!400"),
      CASE("CR at the line's end", "GET / HTTP/1.1\rHost: a\r\n\r\n", "!400"),
      CASE("two CR at the line's end", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
           "!400"),
      CASE("two empty lines before", "\r\n\r\nGET / HTTP/1.1" HOST, "!400"),
      CASE("LF before", "\nGET / HTTP/1.1" HOST, "!400"),
      CASE("CR before", "\rGET / HTTP/1.1" HOST, "!400"),
      CASE("CR CR LF before", "\r\r\nGET / HTTP/1.1" HOST, "!400"),
      CASE("a response", "HTTP/1.1 200 OK\r\n\r\n", "!400"),
      CASE("HTTP/2.0", "GET / HTTP/2.0" HOST, "!505"),
      CASE("HTTP/0.9 by name", "GET / HTTP/0.9" HOST, "!505"),
      CASE("HTTP/9.9", "GET / HTTP/9.9" HOST, "!505"),
      CASE("a method that nobody knows", "FOO / HTTP/1.1" HOST, "!501"),
      CASE("a method that begins like GET", "GETX / HTTP/1.1" HOST, "!501"),
      CASE("a method in lower case", "get / HTTP/1.1" HOST, "!501"),
      CASE("the start of a method", "G / HTTP/1.1" HOST, "!501"),
      CASE("a method of all kinds of bytes", "!#$%&'*+-.^_`|~ / HTTP/1.1" HOST,
           "!501"),
      CASE("a method of RTSP", "DESCRIBE / HTTP/1.1" HOST, "!501"),
      CASE("the method of HTTP/2's preface", "PRI / HTTP/1.1" HOST, "!501"),
      CASE("the same with its target", "PRI * HTTP/1.1" HOST, "!501"),
      CASE("an unknown method with bad headers", "FOO / HTTP/1.1\r\nx\r\n\r\n",
           "!400"),
      CASE("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!400"),
      CASE("TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "!400"),
      CASE("TLS, its first byte alone", "\x16", "!400"),
  };
  REQUESTS(cases);
}

static void refuses_targets_of_other_forms(void **state)
{
  (void)state;
  static const case_t cases[] = {
      CASE("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "!400"),
      CASE("CONNECT with a path", "CONNECT /a HTTP/1.1" HOST, "!400"),
      CASE("authority-form", "GET a:80 HTTP/1.1" HOST, "!400"),
      CASE("a name", "GET a HTTP/1.1" HOST, "!400"),
      CASE("a fragment", "GET /a#b HTTP/1.1" HOST, "!400"),
      CASE("a fragment in the query", "GET /a?b#c HTTP/1.1" HOST, "!400"),
      CASE("user information", "GET http://u@a/ HTTP/1.1" HOST, "!400"),
      CASE("user and password", "GET http://u:p@a/ HTTP/1.1" HOST, "!400"),
      CASE("* without OPTIONS", "GET * HTTP/1.1" HOST, "!400"),
      CASE("* and more", "OPTIONS *a HTTP/1.1" HOST, "!400"),
      CASE("another scheme", "GET ftp://a/ HTTP/1.1" HOST, "!400"),
      CASE("no authority", "GET http:///a HTTP/1.1" HOST, "!400"),
      CASE("a malformed authority", "GET http://a:x/ HTTP/1.1" HOST, "!400"),
      CASE("OPTIONS *", "OPTIONS * HTTP/1.1" HOST, "OPTIONS:*:1 keep END idle"),
      CASE("absolute-form", "GET http://a/b?c HTTP/1.1" HOST,
           "GET:http://a/b?c:1 keep END idle"),
      CASE("absolute-form in HTTP/1.0", "GET http://a/ HTTP/1.0\r\n\r\n",
           "GET:http://a/:0 END idle"),
      CASE("absolute-form, its Host in another case",
           "GET HTTP://A:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
           "GET:HTTP://A:80/:1 keep END idle"),
      CASE("odd but visible bytes", "GET /\"<>\\^`{|}@?? HTTP/1.1" HOST,
           "GET:/\"<>\\^`{|}@??:1 keep END idle"),
  };
  REQUESTS(cases);
}

static void refuses_malformed_header_lines(void **state)
{
  (void)state;
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
  static const case_t cases[] = {
      CASE("a bare LF", GET "A: b\nC: d\r\n\r\n", "!400"),
      CASE("a bare CR in a value", GET "A: b\rc\r\n\r\n", "!400"),
      CASE("a bare CR at a value's start", GET "A:\rc\r\n\r\n", "!400"),
      CASE("a bare CR in a name", GET "A\rB: c\r\n\r\n", "!400"),
      CASE("two CR before LF", GET "A: b\r\r\n\r\n", "!400"),
      CASE("LF ends the head", GET "\n", "!400"),
      CASE("LF ends the last line and the head", GET "A: b\n\n", "!400"),
      CASE("CR and another byte end the head", GET "\rX", "!400"),
      CASE("a NUL in a value", GET "A: b\0c\r\n\r\n", "!400"),
      CASE("a NUL at a value's end", GET "A: b\0\r\n\r\n", "!400"),
      CASE("a control byte in a value", GET "A: b\x01\r\n\r\n", "!400"),
      CASE("a control byte behind many", GET "A: 0123456789ab\x1f\r\n\r\n",
           "!400"),
      CASE("DEL in a value",
           GET "A: 01234567\x7f"
               "89abcdef\r\n\r\n",
           "!400"),
      CASE("a control byte behind a tab", GET "A: 0\t\x0b\r\n\r\n", "!400"),
      CASE("a folded line", GET "A: b\r\n c\r\n\r\n", "!400"),
      CASE("a line folded with a tab", GET "A: b\r\n\tc\r\n\r\n", "!400"),
      CASE("a folded line of blanks", GET "A: b\r\n \r\n\r\n", "!400"),
      CASE("a first header line that begins with a space",
           "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "!400"),
      CASE("a first header line that begins with a tab",
           "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", "!400"),
      CASE("an empty name", GET ": b\r\n\r\n", "!400"),
      CASE("a space before the colon", GET "A : b\r\n\r\n", "!400"),
      CASE("a tab before the colon", GET "A\t: b\r\n\r\n", "!400"),
      CASE("a space in the name", GET "A B: c\r\n\r\n", "!400"),
      CASE("a line without a colon", GET "A\r\n\r\n", "!400"),
      CASE("brackets in a name", GET "A[]: c\r\n\r\n", "!400"),
      CASE("a quote in a name", GET "A\": c\r\n\r\n", "!400"),
      CASE("a NUL in a name", GET "A\0: c\r\n\r\n", "!400"),
      CASE("UTF-8 in a name", GET "\xc3\xa9: c\r\n\r\n", "!400"),
      CASE("a space before Content-Length's colon",
           GET "Content-Length : 3\r\n\r\nabc", "!400"),
  };
  REQUESTS(cases);
}

static void refuses_hosts_that_are_not_one_authority(void **state)
{
  (void)state;
#define WITH(lines) "GET / HTTP/1.1\r\n" lines "\r\n\r\n"
  static const case_t cases[] = {
      CASE("no Host", "GET / HTTP/1.1\r\n\r\n", "!400"),
      CASE("no Host among others", WITH("A: b\r\nHosts: c"), "!400"),
      CASE("two", WITH("Host: a\r\nHost: b"), "!400"),
      CASE("twice the same", WITH("Host: a\r\nhost: a"), "!400"),
      CASE("two in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
           "!400"),
      CASE("a bad one in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n",
           "!400"),
      CASE("a slash", WITH("Host: a/b"), "!400"),
      CASE("a space", WITH("Host: a b"), "!400"),
      CASE("user information", WITH("Host: u@a"), "!400"),
      CASE("a port that is no number", WITH("Host: a:b"), "!400"),
      CASE("a port above 65535", WITH("Host: a:65536"), "!400"),
      CASE("a port alone", WITH("Host: :80"), "!400"),
      CASE("UTF-8", WITH("Host: \xc3\xa9"), "!400"),
      CASE("an open bracket", WITH("Host: [::1"), "!400"),
      CASE("an empty one, as no target has an authority", WITH("Host:"),
           "GET:/:1 keep END idle"),
      CASE("IPv6 and a port", WITH("Host: [::1]:8080"),
           "GET:/:1 keep END idle"),
      CASE("another than the target's",
           "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "!400"),
      CASE("another port than the target's",
           "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
      CASE("longer than the target's",
           "GET http://a/ HTTP/1.1\r\nHost: ab\r\n\r\n", "!400"),
      CASE("empty, unlike the target's",
           "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", "!400"),
      CASE("none, with the target's", "GET http://a/ HTTP/1.1\r\n\r\n", "!400"),
  };
  REQUESTS(cases);
}

static void refuses_lengths_that_can_be_read_in_two_ways(void **state)
{
  (void)state;
#define POST(lines) "POST / HTTP/1.1\r\nHost: a\r\n" lines "\r\n\r\nabcde"
  static const case_t cases[] = {
      CASE("a sign", POST("Content-Length: +5"), "!400"),
      CASE("a minus", POST("Content-Length: -1"), "!400"),
      CASE("hexadecimal", POST("Content-Length: 0x5"), "!400"),
      CASE("a list", POST("Content-Length: 5,5"), "!400"),
      CASE("a list with spaces", POST("Content-Length: 5, 5"), "!400"),
      CASE("two numbers", POST("Content-Length:  5 5"), "!400"),
      CASE("a tab inside", POST("Content-Length: 5\t5"), "!400"),
      CASE("empty", POST("Content-Length:"), "!400"),
      CASE("blank", POST("Content-Length: \t "), "!400"),
      CASE("a fraction", POST("Content-Length: 5.0"), "!400"),
      CASE("an exponent", POST("Content-Length: 5e0"), "!400"),
      CASE("a quoted number", POST("Content-Length: \"5\""), "!400"),
      CASE("a vertical tab", POST("Content-Length: \v5"), "!400"),
      CASE("2^63", POST("Content-Length: 9223372036854775808"), "!400"),
      CASE("2^64 + 5", POST("Content-Length: 18446744073709551621"), "!400"),
      CASE("very many digits",
           POST("Content-Length: 99999999999999999999999999999999"), "!400"),
      CASE("twice the same", POST("Content-Length: 5\r\nContent-Length: 5"),
           "!400"),
      CASE("two lengths", POST("Content-Length: 5\r\ncontent-length: 4"),
           "!400"),
      CASE("a zero and another", POST("Content-Length: 0\r\ncontent-length: 5"),
           "!400"),
      CASE("length and coding",
           POST("Content-Length: 5\r\nTransfer-Encoding: chunked"), "!400"),
      CASE("coding and length",
           POST("Transfer-Encoding: chunked\r\nContent-Length: 5"), "!400"),
      CASE("a coding and a length of 0",
           POST("Transfer-Encoding: chunked\r\nContent-Length: 0"), "!400"),
      CASE("two lines of codings",
           POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
           "!400"),
      CASE("two lines of different codings",
           POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
           "!400"),
      CASE("chunked twice", POST("Transfer-Encoding: chunked, chunked"),
           "!400"),
      CASE("chunked not last", POST("Transfer-Encoding: chunked, gzip"),
           "!400"),
      CASE("a comma behind chunked", POST("Transfer-Encoding: chunked,"),
           "!400"),
      CASE("a comma before chunked", POST("Transfer-Encoding: ,chunked"),
           "!400"),
      CASE("no coding", POST("Transfer-Encoding:"), "!400"),
      CASE("a control byte before chunked",
           POST("Transfer-Encoding: \x0b"
                "chunked"),
           "!400"),
      CASE("a word behind chunked", POST("Transfer-Encoding: chunked x"),
           "!400"),
      CASE("a quoted coding", POST("Transfer-Encoding: \"chunked\""), "!400"),
      CASE("a coding in HTTP/1.0",
           "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "!400"),
      CASE("gzip", POST("Transfer-Encoding: gzip"), "!501"),
      CASE("gzip, chunked", POST("Transfer-Encoding: gzip, chunked"), "!501"),
      CASE("identity", POST("Transfer-Encoding: identity"), "!501"),
      CASE("xchunked", POST("Transfer-Encoding: xchunked"), "!501"),
      CASE("chunkedx", POST("Transfer-Encoding: chunkedx"), "!501"),
      CASE("chunked with a parameter", POST("Transfer-Encoding: chunked;a=b"),
           "!501"),
      CASE("an expectation that nobody knows",
           POST("Content-Length: 5\r\nExpect: tea"), "!417"),
      CASE("an expectation beside the known one",
           POST("Content-Length: 5\r\nExpect: 100-continue, tea"), "!417"),
      CASE("a second line of expectations",
           POST("Content-Length: 5\r\nExpect: tea\r\nExpect: 100-continue"),
           "!417"),
      CASE("an empty expectation", POST("Expect:"), "!417"),
  };
  REQUESTS(cases);
}

static void reads_chunked_bodies(void **state)
{
  (void)state;
#define CHUNKED                                                                \
  "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define SEEN "PUT:/:1 chunked keep"
  static const case_t cases[] = {
      CASE("chunks, then the next request",
           CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" GET "\r\n",
           SEEN " [abcde] END GET:/:1 keep END idle"),
      CASE("hexadecimal in both cases and with zeros",
           CHUNKED "0a\r\n0123456789\r\n000B\r\n0123456789a\r\n00\r\n\r\n",
           SEEN " [01234567890123456789a] END idle"),
      CASE("a size of 16 digits", CHUNKED "0000000000000001\r\nx\r\n0\r\n\r\n",
           SEEN " [x] END idle"),
      CASE("CRLF as data", CHUNKED "4\r\n\r\n\r\n\r\n0\r\n\r\n",
           SEEN " [\r\n\r\n] END idle"),
      CASE("extensions are dropped",
           CHUNKED "1;a\r\nx\r\n1;a=\"b c\" ; d\r\ny\r\n0;e\r\n\r\n",
           SEEN " [xy] END idle"),
      CASE("trailers are dropped",
           CHUNKED "1\r\nx\r\n0\r\nA: b\r\nC:\td\t\xff\r\nE:\r\n\r\n",
           SEEN " [x] END idle"),
      CASE("a body that stops half-way is cut", CHUNKED "3\r\nab",
           SEEN " [ab] cut"),
      CASE("a body without its last chunk is cut", CHUNKED "1\r\na\r\n",
           SEEN " [a] cut"),
      CASE("a body without its last line is cut", CHUNKED "1\r\na\r\n0\r\n",
           SEEN " [a] cut"),
      CASE("no size", CHUNKED "\r\nabc\r\n0\r\n\r\n", SEEN " !400"),
      CASE("no size but an extension", CHUNKED ";a\r\n", SEEN " !400"),
      CASE("a size that is not hexadecimal", CHUNKED "g\r\n", SEEN " !400"),
      CASE("a size that ends with another letter", CHUNKED "1g\r\n",
           SEEN " !400"),
      CASE("0x", CHUNKED "0x1\r\nx\r\n", SEEN " !400"),
      CASE("a plus", CHUNKED "+1\r\nx\r\n", SEEN " !400"),
      CASE("a minus", CHUNKED "-1\r\nx\r\n", SEEN " !400"),
      CASE("a space before the size", CHUNKED " 1\r\nx\r\n", SEEN " !400"),
      CASE("a space behind the size", CHUNKED "1 \r\nx\r\n", SEEN " !400"),
      CASE("a space before the extension", CHUNKED "1 ;a\r\nx\r\n",
           SEEN " !400"),
      CASE("a tab before the extension", CHUNKED "1\t;a\r\nx\r\n",
           SEEN " !400"),
      CASE("17 digits", CHUNKED "00000000000000001\r\nx\r\n", SEEN " !400"),
      CASE("LF behind the size", CHUNKED "1\nx\r\n", SEEN " !400"),
      CASE("CR behind the size", CHUNKED "1\rx\r\n", SEEN " !400"),
      CASE("LF in an extension", CHUNKED "1;a\nx\r\n", SEEN " !400"),
      CASE("CR in an extension", CHUNKED "1;a\rb\r\nx\r\n", SEEN " !400"),
      CASE("a NUL in an extension", CHUNKED "1;a\0\r\nx\r\n", SEEN " !400"),
      CASE("data longer than its size", CHUNKED "3\r\nabcd\r\n0\r\n\r\n",
           SEEN " [abc] !400"),
      CASE("other bytes for CRLF behind data", CHUNKED "3\r\nabcXX0\r\n\r\n",
           SEEN " [abc] !400"),
      CASE("LF behind data", CHUNKED "3\r\nabc\n0\r\n\r\n", SEEN " [abc] !400"),
      CASE("CR behind data", CHUNKED "3\r\nabc\r0\r\n\r\n", SEEN " [abc] !400"),
      CASE("CR and another byte at the end", CHUNKED "0\r\n\rX", SEEN " !400"),
      CASE("LF at the end", CHUNKED "0\r\n\n", SEEN " !400"),
      CASE("the next request at once", CHUNKED "0\r\nGET / HTTP/1.1\r\n",
           SEEN " !400"),
      CASE("a folded trailer", CHUNKED "0\r\nA: b\r\n c\r\n\r\n", SEEN " !400"),
      CASE("a trailer that begins with a space", CHUNKED "0\r\n A: b\r\n\r\n",
           SEEN " !400"),
      CASE("a trailer without a name", CHUNKED "0\r\n: b\r\n\r\n",
           SEEN " !400"),
      CASE("a trailer without a colon", CHUNKED "0\r\nA\r\n\r\n", SEEN " !400"),
      CASE("a space before a trailer's colon", CHUNKED "0\r\nA : b\r\n\r\n",
           SEEN " !400"),
      CASE("a NUL in a trailer", CHUNKED "0\r\nA: \0\r\n\r\n", SEEN " !400"),
      CASE("LF behind a trailer", CHUNKED "0\r\nA: b\n\r\n", SEEN " !400"),
      CASE("CR in a trailer", CHUNKED "0\r\nA: b\rc\r\n\r\n", SEEN " !400"),
  };
  REQUESTS(cases);
}

static void reads_responses(void **state)
{
  (void)state;
  static const case_t cases[] = {
      CASE("a sized body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
           "200:1 sized=2 keep [hi] END idle"),
      CASE("a chunked body, then another response",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
           "0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
           "200:1 chunked keep [hi] END 204:1 keep END idle"),
      CASE("a body until the connection closes", "HTTP/1.1 200 OK\r\n\r\nhi",
           "200:1 until-close [hi] END"),
      CASE("no body until the connection closes", "HTTP/1.1 200 OK\r\n\r\n",
           "200:1 until-close END"),
      CASE("until close, whatever Connection says",
           "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhi",
           "200:1 until-close [hi] END"),
      CASE("a sized body cut short",
           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
           "200:1 sized=3 keep [hi] cut"),
      CASE("a chunked body cut short",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
           "200:1 chunked keep [hi] cut"),
      CASE("a head cut short", "HTTP/1.1 200 OK\r\n", "cut"),
      CASE("interim responses before the final one",
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
           "Link: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
           "100:1 keep END 103:1 keep END 200:1 sized=1 keep [x] END idle"),
      CASE("204 and 304 have no body",
           "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
           "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
           "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
           "204:1 keep END 304:1 keep END 304:1 keep END idle"),
      CASE("204 that announces a body had better close",
           "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
           "204:1 END idle"),
      CASE("204 that announces chunks had better close",
           "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
           "204:1 END idle"),
      CASE("101 hands the connection over",
           "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\n\r\n",
           "101:1 keep upgrade END idle"),
      CASE("HTTP/1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
           "200:0 sized=0 END idle"),
      CASE("HTTP/1.0 stays when it says so",
           "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
           "Content-Length: 0\r\n\r\n",
           "200:0 sized=0 keep END idle"),
      CASE("Connection: close",
           "HTTP/1.1 200 OK\r\nConnection: close\t\r\n"
           "Content-Length: 0\r\n\r\n",
           "200:1 sized=0 END idle"),
      CASE("an empty reason", "HTTP/1.1 204 \r\n\r\n", "204:1 keep END idle"),
      CASE("no reason at all", "HTTP/1.1 204\r\n\r\n", "204:1 keep END idle"),
      CASE("any reason", "HTTP/1.1 204 \xc3\xa9\t it's \r\n\r\n",
           "204:1 keep END idle"),
      CASE("a minor version above 1", "HTTP/1.3 204 No Content\r\n\r\n",
           "204:1 keep END idle"),
  };
  RESPONSES(cases);
}

static void refuses_responses_that_can_be_read_in_two_ways(void **state)
{
  (void)state;
#define OK(lines) "HTTP/1.1 200 OK\r\n" lines "\r\n\r\nhello"
  static const case_t cases[] = {
      CASE("an empty line before", "\r\nHTTP/1.1 200 OK\r\n\r\n", "!0"),
      CASE("lower-case http", "http/1.1 200 OK\r\n\r\n", "!0"),
      CASE("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "!0"),
      CASE("HTTP/0.9", "hello", "!0"),
      CASE("another protocol", "ICY 200 OK\r\n\r\n", "!0"),
      CASE("no status", "HTTP/1.1 OK\r\n\r\n", "!0"),
      CASE("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "!0"),
      CASE("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "!0"),
      CASE("a status below 100", "HTTP/1.1 099 OK\r\n\r\n", "!0"),
      CASE("two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n", "!0"),
      CASE("a tab behind the status", "HTTP/1.1 200\tOK\r\n\r\n", "!0"),
      CASE("a NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", "!0"),
      CASE("a bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n", "!0"),
      CASE("a bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", "!0"),
      CASE("a folded line", OK("A: b\r\n c"), "!0"),
      CASE("a first line that is folded", "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
           "!0"),
      CASE("a space before the colon", OK("A : b"), "!0"),
      CASE("a control byte", OK("A: b\x02"), "!0"),
      CASE("two lengths", OK("Content-Length: 5\r\nContent-Length: 3"), "!0"),
      CASE("twice the same length",
           OK("Content-Length: 5\r\nContent-Length: 5"), "!0"),
      CASE("a list of lengths", OK("Content-Length: 5, 5"), "!0"),
      CASE("a length with a sign", OK("Content-Length: +5"), "!0"),
      CASE("length and coding",
           OK("Content-Length: 5\r\nTransfer-Encoding: chunked"), "!0"),
      CASE("a coding we lack", OK("Transfer-Encoding: gzip"), "!0"),
      CASE("a coding we lack before chunked",
           OK("Transfer-Encoding: gzip, chunked"), "!0"),
      CASE("chunked not last", OK("Transfer-Encoding: chunked, gzip"), "!0"),
      CASE("two lines of codings",
           OK("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
           "!0"),
      CASE("a coding in HTTP/1.0",
           "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "!0"),
      CASE("an interim response with a length",
           "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", "!0"),
      CASE("an interim response with a coding",
           "HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n", "!0"),
      CASE("a bad chunk", OK("Transfer-Encoding: chunked"),
           "200:1 chunked keep !0"),
      CASE("bytes behind the end",
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
           "200:1 sized=1 keep [x] END !0"),
  };
  RESPONSES(cases);
}

static void knows_that_answers_to_head_have_no_body(void **state)
{
  (void)state;
  static const case_t cases[] = {
      CASE("whatever its length says",
           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
           "200:1 keep END 200:1 sized=1 keep [x] END idle"),
      CASE("whatever its coding says",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
           "200:1 keep END idle"),
      CASE("without a length", "HTTP/1.1 200 OK\r\n\r\n",
           "200:1 keep END idle"),
      CASE("behind an interim response",
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
           "Content-Length: 5\r\n\r\n",
           "100:1 keep END 200:1 keep END idle"),
      CASE("conflicting lengths are refused all the same",
           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
           "!0"),
  };
  expect_all((reading_t){HTTP_RESPONSE, &defaults, true, false}, cases,
             sizeof(cases) / sizeof(*cases));
}

/* Bytes made of literals and fillings. */
typedef struct {
  char *bytes;
  size_t len;
} made_t;

static void add(made_t *made, const char *text)
{
  size_t len = strlen(text);
  made->bytes = realloc(made->bytes, made->len + len + 1);
  memcpy(made->bytes + made->len, text, len + 1);
  made->len += len;
}

static void fill(made_t *made, char c, size_t len)
{
  made->bytes = realloc(made->bytes, made->len + len + 1);
  memset(made->bytes + made->len, c, len);
  made->len += len;
  made->bytes[made->len] = '\0';
}

/* Expects the trace for what was made, and starts anew. */
static void expect_made(const weft_parser_limits_t *limits,
                        const char *name,
                        made_t *made,
                        const char *trace)
{
  reading_t mode = {HTTP_REQUEST, limits, false, false};
  expect(&mode, name, made->bytes, made->len, trace);
  free(made->bytes);
  *made = (made_t){NULL, 0};
}

static void keeps_the_limit_of_the_target(void **state)
{
  (void)state;
  made_t made = {NULL, 0};
  add(&made, "GET /0123456789012345678 HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_made(&tight, "20 bytes", &made,
              "GET:/0123456789012345678:1 keep END idle");
  add(&made, "GET /01234567890123456789 HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_made(&tight, "21 bytes", &made, "!414");
  add(&made, "GET /01234567890123456789");
  expect_made(&tight, "21 bytes of a line that is not complete", &made, "!414");
  add(&made, "GET /0123456789012345678\x01 HTTP/1.1\r\n");
  expect_made(&tight, "a control byte behind 20", &made, "!400");
  add(&made, "GET /");
  fill(&made, 'a', 8192);
  expect_made(&defaults, "the default limit and one byte", &made, "!414");
}

static void keeps_the_limit_of_the_head(void **state)
{
  (void)state;
  made_t made = {NULL, 0};
  /* 16 + 9 + 4 + 2 bytes beside the filling */
  for (int over = -1; over <= 1; over++) {
    add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
    fill(&made, 'x', (size_t)(100 - 16 - 9 - 3 - 2 + over));
    add(&made, "\r\n\r\n");
    expect_made(&tight, over > 0 ? "101 bytes" : "100 bytes or less", &made,
                over > 0 ? "!431" : "GET:/:1 keep END idle");
  }
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
  fill(&made, 'x', 74);
  expect_made(&tight, "101 bytes of a line that is not complete", &made,
              "!431");
  fill(&made, 'x', 101);
  expect_made(&tight, "101 bytes of a method", &made, "!431");
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
  fill(&made, 'x', 100000);
  add(&made, "\r\n\r\n");
  expect_made(&defaults, "1e5 bytes", &made, "!431");
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\n");
  for (int i = 0; i < 90; i++) {
    add(&made, "A: ");
    fill(&made, 'x', 1000);
    add(&made, "\r\n");
  }
  add(&made, "\r\n");
  expect_made(&defaults, "90,000 bytes in lines", &made, "!431");
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
  fill(&made, 'x', 32700);
  add(&made, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect_made(&defaults, "a large head, then a small one", &made,
              "GET:/:1 keep END GET:/:1 keep END idle");
}

static void keeps_the_limit_of_the_number_of_headers(void **state)
{
  (void)state;
  made_t made = {NULL, 0};
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n");
  expect_made(&tight, "3 headers", &made, "GET:/:1 keep END idle");
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
  expect_made(&tight, "4 headers", &made, "!431");
  add(&made, "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC");
  expect_made(&tight, "the beginning of a fourth", &made, "!431");
  for (int count = 99; count <= 100; count++) {
    add(&made, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < count; i++)
      add(&made, "A:b\r\n");
    add(&made, "\r\n");
    expect_made(&defaults, count == 99 ? "100 headers" : "101 headers", &made,
                count == 99 ? "GET:/:1 keep END idle" : "!431");
  }
}

static void keeps_the_limits_of_chunk_extensions(void **state)
{
  (void)state;
  made_t made = {NULL, 0};
  for (int over = 0; over <= 1; over++) {
    add(&made, CHUNKED "1;");
    fill(&made, 'a', (size_t)(1023 + over));
    add(&made, "\r\nx\r\n0\r\n\r\n");
    expect_made(&defaults, over ? "1025 bytes" : "1024 bytes", &made,
                over ? SEEN " !400" : SEEN " [x] END idle");
  }
  for (int over = 0; over <= 1; over++) {
    add(&made, CHUNKED);
    for (int i = 0; i < 16; i++) {
      add(&made, "1;");
      fill(&made, 'a', 1023);
      add(&made, "\r\nx\r\n");
    }
    add(&made, over ? "0;\r\n\r\n" : "0\r\n\r\n");
    expect_made(&defaults, over ? "16385 bytes in all" : "16384 bytes in all",
                &made,
                over ? SEEN " [xxxxxxxxxxxxxxxx] !400"
                     : SEEN " [xxxxxxxxxxxxxxxx] END idle");
  }
}

static void keeps_the_limits_of_trailers(void **state)
{
  (void)state;
  made_t made = {NULL, 0};
  add(&made, CHUNKED "0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
  expect_made(&tight, "3 trailers", &made, SEEN " END idle");
  add(&made, CHUNKED "0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n");
  expect_made(&tight, "4 trailers", &made, SEEN " !400");
  for (int over = 0; over <= 1; over++) {
    add(&made, CHUNKED "0\r\nA: 1\r\nB: ");
    fill(&made, 'x', (size_t)(100 - 6 - 3 - 2 + over));
    add(&made, "\r\n\r\n");
    expect_made(&tight, over ? "101 bytes" : "100 bytes", &made,
                over ? SEEN " !400" : SEEN " END idle");
  }
}

static void refuses_as_soon_as_the_byte_is_there(void **state)
{
  (void)state;
  static const case_t requests[] = {
      CASE("a method", "G@", "!400"),
      CASE("a second space", "GET  ", "!400"),
      CASE("a control byte in the target", "GET /a\x01", "!400"),
      CASE("a version that is none", "GET / X", "!400"),
      CASE("a byte behind the version", "GET / HTTP/1.1 ", "!400"),
      CASE("a CR in the request line", "GET / HTTP/1.1\rX", "!400"),
      CASE("a name's first byte", GET " ", "!400"),
      CASE("a name's second byte", GET "A ", "!400"),
      CASE("a control byte in a value", GET "A: b\x01", "!400"),
      CASE("a CR in a value", GET "A: b\rX", "!400"),
      CASE("a CR that does not end the head", GET "\rX", "!400"),
      CASE("a chunk size", CHUNKED "g", SEEN " !400"),
  };
  static const case_t responses[] = {
      CASE("a byte of the version", "HTTP/1,", "!0"),
      CASE("a status", "HTTP/1.1 x", "!0"),
      CASE("a fourth digit", "HTTP/1.1 2000", "!0"),
  };
  REQUESTS(requests);
  RESPONSES(responses);
}

static void says_why_it_refuses(void **state)
{
  (void)state;
  static const struct {
    const char *bytes, *word;
  } cases[] = {
      {"\x16\x03\x01", "TLS"},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"},
      {"GET / HTTP/1.1\r\n\r\n", "Host"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    weft_parser_t parser;
    size_t used;
    weft_parser_init(&parser, HTTP_REQUEST, &defaults);
    assert_int_equal(weft_parser_feed(&parser, cases[i].bytes,
                                      strlen(cases[i].bytes), &used),
                     WEFT_PARSED_ERROR);
    assert_non_null(strstr(parser.reason, cases[i].word));
    /* and goes on refusing */
    assert_int_equal(weft_parser_feed(&parser, "GET", 3, &used),
                     WEFT_PARSED_ERROR);
    assert_int_equal(used, 0);
    weft_parser_deinit(&parser);
  }
}

static void is_idle_only_between_messages(void **state)
{
  (void)state;
  static const char bytes[] =
      "\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
  weft_parser_t parser;
  size_t used;
  weft_parser_init(&parser, HTTP_REQUEST, &defaults);
  assert_true(weft_parser_idle(&parser));
  for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
    weft_parser_feed(&parser, bytes + i, 1, &used);
    assert_int_equal(used, 1);
    /* the empty line belongs to no message */
    assert_int_equal(weft_parser_idle(&parser), i <= 1);
  }
  assert_int_equal(weft_parser_feed(&parser, NULL, 0, &used), WEFT_PARSED_END);
  assert_true(weft_parser_idle(&parser));
  assert_int_equal(weft_parser_feed(&parser, NULL, 0, &used), WEFT_PARSED_MORE);
  weft_parser_deinit(&parser);
}

static void keeps_the_memory_of_heads_until_it_is_trimmed(void **state)
{
  (void)state;
  static const char bytes[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  weft_parser_t parser;
  size_t used;
  const void *first_bytes = NULL, *first_headers = NULL;
  weft_parser_init(&parser, HTTP_REQUEST, &defaults);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(weft_parser_feed(&parser, bytes, sizeof(bytes) - 1, &used),
                     WEFT_PARSED_HEAD);
    if (i == 0) {
      first_bytes = parser.head.bytes.data;
      first_headers = parser.head.headers;
    }
    assert_ptr_equal(parser.head.bytes.data, first_bytes);
    assert_ptr_equal(parser.head.headers, first_headers);
    assert_int_equal(weft_parser_feed(&parser, NULL, 0, &used),
                     WEFT_PARSED_END);
  }
  weft_parser_trim(&parser);
  assert_null(parser.head.bytes.data);
  assert_null(parser.head.headers);
  assert_int_equal(weft_parser_feed(&parser, bytes, sizeof(bytes) - 1, &used),
                   WEFT_PARSED_HEAD);
  weft_parser_deinit(&parser);
}

static void hands_out_slices_of_the_bytes_fed(void **state)
{
  (void)state;
  static const char bytes[] =
      CHUNKED "3\r\nabc\r\n0\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\n"
              "Content-Length: 3\r\n\r\nabc";
  weft_parser_t parser;
  size_t done = 0, used;
  unsigned bodies = 0;
  weft_parser_init(&parser, HTTP_REQUEST, &defaults);
  weft_parsed_t parsed;
  do {
    parsed = weft_parser_feed(&parser, bytes + done, sizeof(bytes) - 1 - done,
                              &used);
    done += used;
    if (parsed == WEFT_PARSED_BODY) {
      bodies++;
      assert_ptr_equal(parser.body + parser.body_len, bytes + done);
      assert_memory_equal(parser.body, "abc", 3);
    }
  } while (parsed != WEFT_PARSED_MORE);
  assert_int_equal(bodies, 2);
  weft_parser_deinit(&parser);
}

static void is_small_enough_to_embed(void **state)
{
  (void)state;
  assert_true(sizeof(weft_parser_t) <= 160);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accepts_requests_and_finds_where_they_end),
      cmocka_unit_test(reports_headers_as_they_came),
      cmocka_unit_test(finds_headers_by_name),
      cmocka_unit_test(refuses_malformed_request_lines),
      cmocka_unit_test(refuses_targets_of_other_forms),
      cmocka_unit_test(refuses_malformed_header_lines),
      cmocka_unit_test(refuses_hosts_that_are_not_one_authority),
      cmocka_unit_test(refuses_lengths_that_can_be_read_in_two_ways),
      cmocka_unit_test(reads_chunked_bodies),
      cmocka_unit_test(reads_responses),
      cmocka_unit_test(refuses_responses_that_can_be_read_in_two_ways),
      cmocka_unit_test(knows_that_answers_to_head_have_no_body),
      cmocka_unit_test(keeps_the_limit_of_the_target),
      cmocka_unit_test(keeps_the_limit_of_the_head),
      cmocka_unit_test(keeps_the_limit_of_the_number_of_headers),
      cmocka_unit_test(keeps_the_limits_of_chunk_extensions),
      cmocka_unit_test(keeps_the_limits_of_trailers),
      cmocka_unit_test(refuses_as_soon_as_the_byte_is_there),
      cmocka_unit_test(says_why_it_refuses),
      cmocka_unit_test(is_idle_only_between_messages),
      cmocka_unit_test(keeps_the_memory_of_heads_until_it_is_trimmed),
      cmocka_unit_test(hands_out_slices_of_the_bytes_fed),
      cmocka_unit_test(is_small_enough_to_embed),
  };
  return cmocka_run_group_tests_name("parser", tests, NULL, NULL);
}
