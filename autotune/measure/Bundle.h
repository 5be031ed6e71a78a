// SPDX-License-Identifier: Apache-2.0
//
// A tuning bundle: candidates compiled on one machine, with all that checking and timing them on another takes. One tar
// archive; docs/bundle.schema.json describes its bundle.json, docs/autotuning.md how it is used.

#ifndef TPAC_AUTOTUNE_MEASURE_BUNDLE_H
#define TPAC_AUTOTUNE_MEASURE_BUNDLE_H

#include "autotune/measure/Artifact.h"
#include "autotune/measure/ReferenceCalls.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llvm {
class TarWriter;
}

namespace tpac::autotune {

/// One schedule of a question.
struct BundleCandidate {
  /// Its fields by name, as records keep them, and its text.
  nlohmann::json fields;
  std::string text;
  /// Why it does not compile; empty: it does.
  std::string problem;
  /// Artifact, without its bytes: those of candidates with equal codes are in the archive once.
  std::string code;
  CodeMemory memory;
};

struct BundleQuestion {
  /// `config` is the variant's name.
  bench::Row row;
  /// Of the record that comes of it (records::Key), and its effort.
  nlohmann::json key;
  std::string effort;
  /// The first one is the default.
  std::vector<BundleCandidate> candidates;
  int64_t pageSize = 0;
  /// ReferenceCalls::inputsHash.
  std::string inputs;
};

class Bundle {
public:
  /// Reads and checks the archive. Throws std::runtime_error that names field, found and accepted.
  static Bundle open(const std::filesystem::path &file);

  const std::string &target() const;
  const nlohmann::json &toolchain() const;
  const std::vector<BundleQuestion> &questions() const;
  /// Hexadecimal SHA-256 of bundle.json, in which all that belongs to the bundle is named by its own hash.
  const std::string &id() const;

  /// What a candidate of question `number` was compiled to. Throws std::runtime_error.
  Artifact artifact(size_t number, const std::string &text) const;
  /// Gives the calls of question `number` their results. Throws std::runtime_error where their inputs are not those
  /// that the results belong to.
  void fill(size_t number, ReferenceCalls &calls) const;

private:
  struct Content;
  std::shared_ptr<const Content> content;
};

/// Writes a bundle, question by question.
class BundleWriter {
public:
  /// Throws std::runtime_error where the file cannot be written.
  BundleWriter(const std::filesystem::path &file, const std::string &target, const nlohmann::json &toolchain);
  ~BundleWriter();

  /// Adds a question with what its candidates were compiled to, one each (those that do not compile: nothing), and its
  /// calls, which must be computed.
  void add(BundleQuestion question, const std::vector<std::shared_ptr<const Artifact>> &artifacts,
           const ReferenceCalls &calls);
  /// Ends the archive; without it the file is no bundle.
  void finish();

private:
  std::filesystem::path file, unfinished;
  std::unique_ptr<llvm::TarWriter> writer;
  nlohmann::ordered_json index;
  std::map<std::string, bool> written;
};

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_BUNDLE_H
