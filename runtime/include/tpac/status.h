/* SPDX-License-Identifier: Apache-2.0
 *
 * What all functions of tpac's runtime library share: statuses and their messages, versions. C99 or later, C++17 or
 * later. Nothing of threads, packs or devices here.
 */
#ifndef TPAC_STATUS_H
#define TPAC_STATUS_H

#include <stdint.h>

#ifndef TPAC_MUST_USE
#if defined(__cplusplus) && __cplusplus >= 201703L
#define TPAC_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define TPAC_MUST_USE __attribute__((warn_unused_result))
#else
#define TPAC_MUST_USE
#endif
#endif

#ifndef TPAC_API
#if defined(__GNUC__)
#define TPAC_API __attribute__((visibility("default")))
#else
#define TPAC_API
#endif
#endif

/* Grows when a program built against an older header would no longer work with the library. */
#define TPAC_RUNTIME_ABI_VERSION 1

/* What functions return as int32_t. Where one fails, it has changed nothing and written nothing. */
enum {
  TPAC_SUCCESS = 0,
  TPAC_INVALID_ARGUMENT = 1, /* the message names the argument, what was found and what is accepted */
  TPAC_OUT_OF_MEMORY = 2,
  TPAC_SYSTEM_ERROR = 3, /* the operating system refused; the message names the call and the cause */
  TPAC_OUT_OF_PAGES = 4, /* fewer pages are free than a request needs; the message says how many */
  TPAC_DEVICE_ERROR = 5  /* a device's driver is missing or refused a call; the message has the driver's own words */
};

#ifdef __cplusplus
extern "C" {
#endif

/* The message of the calling thread's latest failure if that had this status, else what the status means in general.
 * Never NULL, not to be freed, valid until the next failure in the calling thread. */
TPAC_API const char *tpac_runtime_status_message(int32_t status);

/* Version of the library, as "0.1.0". */
TPAC_API const char *tpac_runtime_version(void);

/* TPAC_RUNTIME_ABI_VERSION of the library; a program compares it with that of the header it was built with. */
TPAC_API int32_t tpac_runtime_abi_version(void);

#ifdef __cplusplus
}
#endif

#endif /* TPAC_STATUS_H */
