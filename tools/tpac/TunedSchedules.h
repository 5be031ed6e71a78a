// SPDX-License-Identifier: Apache-2.0
//
// Schedules of phases as tuning records say, for the commands that use or explain them.

#ifndef TPAC_TOOLS_TPAC_TUNEDSCHEDULES_H
#define TPAC_TOOLS_TPAC_TUNEDSCHEDULES_H

#include "autotune/records/Verdict.h"
#include "lowering/TargetSchedule.h"
#include "tools/tpac/Questions.h"

#include <map>

namespace tpac {

/// The schedule of one phase on one target, and where it comes from.
struct ChosenSchedule {
  mlir::tpa::ScheduleAttr schedule;
  /// The entry that gave it; nothing: the default.
  std::optional<records::Answer> answer;
  /// What a user should know: that another compiler or shape was measured, that records do not fit. May be empty.
  std::string note;
};

/// What records say of one question.
struct Explanation {
  QuestionKey question;
  mlir::tpa::ScheduleAttr byDefault;
  std::vector<records::Verdict> verdicts;
  ChosenSchedule chosen;
};

class TunedSchedules {
public:
  /// `file`: of --records. Throws std::runtime_error where it is given and does not exist.
  TunedSchedules(const std::string &file, records::Mode mode);

  /// What is wrong with files and entries.
  std::vector<std::string> problems() const;
  /// Whether there is an entry besides those that came with the compiler.
  bool hasOwnEntries() const;

  /// Throws std::runtime_error where the target does not compute the phase, and for Mode::assertHit where no entry
  /// answers exactly.
  Explanation explain(mlir::tpa::VariantAttr variant, const bench::Row &row, const CodeTarget &target,
                      CacheStorage storage) const;

private:
  records::Mode mode;
  std::vector<records::Layer> layers;
};

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_TUNEDSCHEDULES_H
