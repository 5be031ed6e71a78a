// SPDX-License-Identifier: Apache-2.0
//
// The commands of tpac. Each adds its options to a parser; its callback does the work and throws std::runtime_error
// with a message for the user.

#ifndef TPAC_TOOLS_TPAC_COMMANDS_H
#define TPAC_TOOLS_TPAC_COMMANDS_H

#include <CLI/CLI.hpp>

namespace tpac {

/// Thrown where a command did its work and the answer is no (a check that fails): exit code 1, no further message.
struct CheckFailed {};

/// Of the option --value-block, which several commands have.
inline constexpr const char *valueBlockHelp =
    "tokens per block of V's token caches, 0 (token by token) or a power of two from 2 to 64; default: what suits the "
    "target";

/// Of the option --page-size.
inline constexpr const char *pageSizeHelp =
    "tokens per page of the cache, which a block table then assigns to requests; 0: one piece of memory per request";

/// Of the option --records.
inline constexpr const char *recordsHelp =
    "file of tuning records; default: TPAC_RECORDS, or tpac-records.json here, the user's own and those shipped "
    "(docs/autotuning.md)";

/// Of the option --mode, which says what is made of records.
inline constexpr const char *recordsModeHelp =
    "off: default schedules; cached-only: the nearest record that fits, else the default; assert-hit: an exact record, "
    "else an error; auto: as cached-only, after what no record answers exactly was tuned here";

void addBenchCommand(CLI::App &app);
void addBuildCommand(CLI::App &app);
void addCheckCommand(CLI::App &app);
void addRecordsCommand(CLI::App &app);
void addShowCommand(CLI::App &app);
void addTuneCommand(CLI::App &app);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_COMMANDS_H
