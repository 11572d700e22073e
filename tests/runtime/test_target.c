/* Targets: how they are taken apart, and which paths are the same path. */
#include "http/target.h"

#include <llhttp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "scheme|authority|path|query", "-" for what there is not; or "!". */
static const char *split(const char *target, size_t len, int method)
{
  static char text[256];
  weft_target_t t;
  char *exact = malloc(len); /* a byte read beyond it is noticed */
  memcpy(exact, target, len);
  if (weft_target_split(exact, len, method, &t))
    snprintf(text, sizeof(text), "!");
  else
    snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%.*s",
             t.scheme ? (int)t.scheme_len : 1, t.scheme ? t.scheme : "-",
             t.authority ? (int)t.authority_len : 1,
             t.authority ? t.authority : "-", (int)t.raw_path_len, t.raw_path,
             t.query ? (int)t.query_len : 1, t.query ? t.query : "-");
  free(exact);
  return text;
}

static void splits_targets(void **state)
{
  (void)state;
  static const struct {
    const char *target, *parts;
    int method;
  } cases[] = {
      {"/", "-|-|/|-", HTTP_GET},
      {"/a/b", "-|-|/a/b|-", HTTP_GET},
      {"/a?b=c", "-|-|/a|b=c", HTTP_GET},
      {"/a?", "-|-|/a|", HTTP_GET},
      {"/a?b?c/d", "-|-|/a|b?c/d", HTTP_GET},
      {"/?", "-|-|/|", HTTP_GET},
      {"//a/b", "-|-|//a/b|-", HTTP_GET},
      {"/http://a/", "-|-|/http://a/|-", HTTP_GET},
      {"/u@h", "-|-|/u@h|-", HTTP_GET},
      {"*", "-|-|*|-", HTTP_OPTIONS},
      {"/*", "-|-|/*|-", HTTP_OPTIONS},
      {"http://a/b?c", "http|a|/b|c", HTTP_GET},
      {"https://a:443/b", "https|a:443|/b|-", HTTP_GET},
      {"HTTP://A/b", "HTTP|A|/b|-", HTTP_GET},
      {"http://a", "http|a|/|-", HTTP_GET},
      {"http://a?b", "http|a|/|b", HTTP_GET},
      {"http://a", "http|a|*|-", HTTP_OPTIONS},
      {"http://a/", "http|a|/|-", HTTP_OPTIONS},
      {"http://a?b", "http|a|/|b", HTTP_OPTIONS},
      {"http://[::1]:80/x", "http|[::1]:80|/x|-", HTTP_GET},
      {"http://a/u@h", "http|a|/u@h|-", HTTP_GET},
      {"http://a?u@h", "http|a|/|u@h", HTTP_GET},
      {"", "!", HTTP_GET},
      {"a", "!", HTTP_GET},
      {"a:80", "!", HTTP_GET},
      {"a.example:80", "!", HTTP_CONNECT},
      {"/", "!", HTTP_CONNECT},
      {"http://a/", "!", HTTP_CONNECT},
      {"*", "!", HTTP_GET},
      {"*", "!", HTTP_POST},
      {"**", "!", HTTP_OPTIONS},
      {"*?a", "!", HTTP_OPTIONS},
      {"?a", "!", HTTP_GET},
      {"/a#", "!", HTTP_GET},
      {"/a?b#c", "!", HTTP_GET},
      {"http://a/#b", "!", HTTP_GET},
      {"http://u@a/", "!", HTTP_GET},
      {"http://u:p@a/", "!", HTTP_GET},
      {"http://@a/", "!", HTTP_GET},
      {"http://", "!", HTTP_GET},
      {"http:///a", "!", HTTP_GET},
      {"http://?a", "!", HTTP_GET},
      {"http://:80/", "!", HTTP_GET},
      {"http://a:b/", "!", HTTP_GET},
      {"http:/a", "!", HTTP_GET},
      {"http:", "!", HTTP_GET},
      {"httpx://a/", "!", HTTP_GET},
      {"ftp://a/", "!", HTTP_GET},
      {"/a b", "!", HTTP_GET},
      {"/a\tb", "!", HTTP_GET},
      {"/a\x7f", "!", HTTP_GET},
      {"/\xc3\xa9", "!", HTTP_GET},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    const char *target = cases[i].target;
    const char *parts = split(target, strlen(target), cases[i].method);
    if (strcmp(parts, cases[i].parts))
      fail_msg("%s: got %s, expected %s", target, parts, cases[i].parts);
  }
  assert_string_equal(split("/a\0b", 4, HTTP_GET), "!");
}

/* The normalised path, or "!" and the reason. */
static const char *normalise(const char *raw, size_t len)
{
  static char text[256];
  const char *reason = NULL;
  char *exact = malloc(len), *path = malloc(len);
  memcpy(exact, raw, len);
  size_t path_len = weft_target_normalise(exact, len, path, &reason);
  if (path_len)
    snprintf(text, sizeof(text), "%.*s", (int)path_len, path);
  else
    snprintf(text, sizeof(text), "!%s", reason);
  free(path);
  free(exact);
  return text;
}

typedef struct {
  const char *raw, *path;
} path_case_t;

static void expect_paths(const path_case_t *cases, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    const char *path = normalise(cases[i].raw, strlen(cases[i].raw));
    bool refused = *cases[i].path == '!' && *path == '!';
    if (refused ? !strstr(path, cases[i].path + 1)
                : strcmp(path, cases[i].path) != 0)
      fail_msg("%s: got %s, expected %s", cases[i].raw, path, cases[i].path);
  }
}

#define PATHS(cases) expect_paths((cases), sizeof(cases) / sizeof(*(cases)))

static void removes_dot_segments(void **state)
{
  (void)state;
  static const path_case_t cases[] = {
      {"/", "/"},
      {"*", "*"},
      {"/a/b", "/a/b"},
      {"/a/b/", "/a/b/"},
      {"/.", "/"},
      {"/./", "/"},
      {"/a/.", "/a/"},
      {"/a/./", "/a/"},
      {"/a/./b", "/a/b"},
      {"/./a", "/a"},
      {"/a/..", "/"},
      {"/a/../", "/"},
      {"/a/../b", "/b"},
      {"/a/b/..", "/a/"},
      {"/a/b/../..", "/"},
      {"/a/b/../../c", "/c"},
      {"/a/b/./../c/", "/a/c/"},
      {"/...", "/..."},
      {"/.a/..b/c.", "/.a/..b/c."},
      {"/a../b", "/a../b"},
      /* empty segments stay, and are segments */
      {"//", "//"},
      {"//a//b//", "//a//b//"},
      {"/a//../b", "/a/b"},
      {"//..", "/"},
      {"//../a", "/a"},
      {"/a/..//b", "//b"},
      {"/a/.//b", "/a//b"},
      /* above the root */
      {"/..", "!root"},
      {"/../a", "!root"},
      {"/a/../..", "!root"},
      {"/./..", "!root"},
      {"//../..", "!root"},
      {"/a/../../a/b", "!root"},
      {"/%2e%2E/a", "!root"},
  };
  PATHS(cases);
}

static void decodes_once_then_removes_dots(void **state)
{
  (void)state;
  static const path_case_t cases[] = {
      {"/%61", "/a"},           {"/a%20b", "/a b"},
      {"/%7E%7e~", "/~~~"},     {"/a/%2e/b", "/a/b"},
      {"/a/%2e%2E/b", "/b"},    {"/a/.%2e", "/"},
      {"/a/%2e.", "/"},         {"/%252e%252e/a", "/%2e%2e/a"},
      {"/a+b", "/a+b"},         {"/%3F%23", "/?#"},
      {"/%5C..%5C", "/\\..\\"}, {"/%0a%7f", "/\n\x7f"},
      {"/%2a", "/*"},           {"/\"<>\\^`{|}", "/\"<>\\^`{|}"},
  };
  PATHS(cases);
}

static void keeps_encoded_slashes_apart(void **state)
{
  (void)state;
  static const path_case_t cases[] = {
      {"/a%2Fb", "/a%2Fb"},
      {"/a%2fb", "/a%2Fb"},
      {"/a/..%2Fb", "/a/..%2Fb"},
      {"/%2F..", "/%2F.."},
      {"/%2e%2e%2fa", "/..%2Fa"},
      {"/a%2F/../b", "/b"},
      {"/a%252Fb", "/a%252Fb"},
      {"/a%252fb", "/a%252fb"},
      {"/a%25252Fb", "/a%25252Fb"},
      {"/a%2525252Fb", "/a%2525252Fb"},
      /* the same, with more of it escaped */
      {"/a%25%32%46b", "/a%252Fb"},
      {"/a%25%32Fb", "/a%252Fb"},
      {"/a%252%46b", "/a%252Fb"},
      {"/a%25%32%352Fb", "/a%25252Fb"},
  };
  PATHS(cases);
}

static void decodes_a_percent_that_reads_as_nothing(void **state)
{
  (void)state;
  static const path_case_t cases[] = {
      {"/%25", "/%"},
      {"/100%25", "/100%"},
      {"/%25%25", "/%%"},
      {"/%2561", "/%61"},
      {"/%2525", "/%25"},
      {"/%252", "/%2"},
      {"/%252E", "/%2E"},
      {"/%25/2F", "/%/2F"},
      {"/%2525/2F", "/%25/2F"},
      {"/%25%2F", "/%%2F"},
      {"/%25%252F", "/%%252F"},
      {"/%257F", "/%7F"},
      {"/%25zz", "/%zz"},
      {"/%25/%25/../a", "/%/a"},
      /* and keeps it where an escape that is kept would look the same */
      {"/%25FF", "/%25FF"},
      {"/%2580", "/%2580"},
      {"/%25c3%25a9", "/%25c3%25a9"},
      {"/%2525ff", "/%2525ff"},
  };
  PATHS(cases);
}

static void decodes_utf8_and_nothing_that_resembles_it(void **state)
{
  (void)state;
  static const path_case_t cases[] = {
      {"/%C3%A9", "/\xc3\xa9"},
      {"/%c3%a9", "/\xc3\xa9"},
      {"/%E2%82%AC", "/\xe2\x82\xac"},
      {"/%F0%9F%92%A9", "/\xf0\x9f\x92\xa9"},
      {"/%F4%8F%BF%BF", "/\xf4\x8f\xbf\xbf"},
      {"/%ED%9F%BF", "/\xed\x9f\xbf"},
      {"/%ff", "/%FF"},
      {"/%80", "/%80"},
      {"/%c3", "/%C3"},
      {"/%c3a", "/%C3a"},
      {"/%c3%c3%a9", "/%C3\xc3\xa9"},
      {"/%c3%41", "/%C3A"},
      {"/%c3%2e%2e", "/%C3.."},
      {"/%c3/%a9", "/%C3/%A9"},
      {"/%e2%82", "/%E2%82"},
      {"/%e2%82%2f", "/%E2%82%2F"},
      {"/%f0%9f%92", "/%F0%9F%92"},
      {"/%c0%af", "/%C0%AF"},                 /* overlong */
      {"/%c1%bf", "/%C1%BF"},                 /* overlong */
      {"/%c0%ae%c0%ae/a", "/%C0%AE%C0%AE/a"}, /* overlong dots */
      {"/%e0%9f%bf", "/%E0%9F%BF"},           /* overlong */
      {"/%e0%a0%80", "/\xe0\xa0\x80"},        /* U+0800 */
      {"/%f0%8f%bf%bf", "/%F0%8F%BF%BF"},     /* overlong */
      {"/%f0%90%80%80", "/\xf0\x90\x80\x80"}, /* U+10000 */
      {"/%ed%a0%80", "/%ED%A0%80"},           /* a surrogate */
      {"/%f4%90%80%80", "/%F4%90%80%80"},     /* above U+10FFFF */
      {"/%f5%80%80%80", "/%F5%80%80%80"},
  };
  PATHS(cases);
}

static void refuses_broken_paths(void **state)
{
  (void)state;
  static const path_case_t cases[] = {
      {"", "!slash"},           {"a", "!slash"},      {"**", "!slash"},
      {"%2Fa", "!slash"},       {"/%", "!broken"},    {"/%2", "!broken"},
      {"/%2/", "!broken"},      {"/%g0", "!broken"},  {"/%0g", "!broken"},
      {"/%%20", "!broken"},     {"/% 20", "!broken"}, {"/%u0041", "!broken"},
      {"/%c3%", "!broken"},     {"/%00", "!NUL"},     {"/a%00.txt", "!NUL"},
      {"/../%00", "!NUL"},      {"/a b", "!visible"}, {"/\xc3\xa9", "!visible"},
      {"/\x01%41", "!visible"},
  };
  PATHS(cases);
  assert_true(strstr(normalise("/a\0b", 4), "visible") != NULL);
}

static void knows_authorities(void **state)
{
  (void)state;
  static const struct {
    const char *host;
    bool ok;
  } cases[] = {
      {"a", true},
      {"A.example-1.com", true},
      {"a:80", true},
      {"a:0", true},
      {"a:65535", true},
      {"a:", true},
      {"127.0.0.1", true},
      {"127.0.0.1:8080", true},
      {"a_b~c!$&'()*+,;=", true},
      {"%41", true},
      {"xn--bcher-kva.example", true},
      {"[::1]", true},
      {"[::1]:80", true},
      {"[2001:db8::1]", true},
      {"[::ffff:127.0.0.1]", true},
      {"[1:2:3:4:5:6:7:8]", true},
      {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]", true},
      {"", false},
      {":", false},
      {":80", false},
      {"a:b", false},
      {"a:-1", false},
      {"a:+1", false},
      {"a: 1", false},
      {"a:65536", false},
      {"a:4294967377", false},
      {"a:80:80", false},
      {"a b", false},
      {"a/b", false},
      {"a?b", false},
      {"a#b", false},
      {"a\\b", false},
      {"u@a", false},
      {"a\"", false},
      {"<a>", false},
      {"\xc3\xa9", false},
      {"%4", false},
      {"%4g", false},
      {"%", false},
      {"::1", false},
      {"[::1", false},
      {"::1]", false},
      {"[]", false},
      {"[::1]a", false},
      {"[::1]80", false},
      {"[::1]:x", false},
      {"[::1]]", false},
      {"[[::1]]", false},
      {"[::1%25eth0]", false},
      {"[127.0.0.1]", false},
      {"[1:2:3:4:5:6:7:8:9]", false},
      {"[12345::]", false},
      {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555]", false},
      {"[v1.a]", false},
      {"a[::1]", false},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    size_t len = strlen(cases[i].host);
    char *exact = malloc(len);
    memcpy(exact, cases[i].host, len);
    if (weft_target_authority_ok(exact, len) != cases[i].ok)
      fail_msg("%s should be %s", cases[i].host, cases[i].ok ? "fine" : "bad");
    free(exact);
  }
  assert_false(weft_target_authority_ok("[::\0]", 5));
  assert_false(weft_target_authority_ok("[::1\0]", 6));
  assert_false(weft_target_authority_ok("a\0", 2));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(splits_targets),
      cmocka_unit_test(removes_dot_segments),
      cmocka_unit_test(decodes_once_then_removes_dots),
      cmocka_unit_test(keeps_encoded_slashes_apart),
      cmocka_unit_test(decodes_a_percent_that_reads_as_nothing),
      cmocka_unit_test(decodes_utf8_and_nothing_that_resembles_it),
      cmocka_unit_test(refuses_broken_paths),
      cmocka_unit_test(knows_authorities),
  };
  return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
