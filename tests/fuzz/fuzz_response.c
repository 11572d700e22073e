/* Responses: see messages.h for what is required of them. */
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  fuzz_messages(HTTP_RESPONSE, data, len);
  return 0;
}
