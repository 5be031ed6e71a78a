// SPDX-License-Identifier: Apache-2.0
//
// tpac records verify: what entries say, checked and timed again.

#ifndef TPAC_TOOLS_TPAC_RECORDSVERIFY_H
#define TPAC_TOOLS_TPAC_RECORDSVERIFY_H

#include <cstdint>
#include <string>
#include <vector>

namespace tpac {

struct VerifyOptions {
  std::string records;
  std::vector<std::string> ids;
  int64_t poolMegabytes = 1024;
  bool write = false;
  bool json = false;
};

/// Checks and times the schedules of all entries of this machine's silicon (of `ids` where there are any) beside the
/// default, in one race for each entry, and prints what came of it. Throws CheckFailed where a schedule is not legal or
/// wrong, or the winner is slower than the default by more than the noise.
void verifyRecords(const VerifyOptions &options);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_RECORDSVERIFY_H
