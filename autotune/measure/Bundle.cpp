// SPDX-License-Identifier: Apache-2.0

#include "autotune/measure/Bundle.h"

#include "lowering/emit/Manifest.h"
#include "lowering/emit/Take.h"
#include "runtime/packs/PackFiles.h"

#include "llvm/Support/TarWriter.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace tpac::autotune {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr const char *indexFile = "bundle.json";
constexpr int formatVersion = 1;

std::string codeFile(const std::string &code) { return "code/" + code; }
std::string outputsFile(size_t question, size_t call) {
  return "expected/" + std::to_string(question) + "-" + std::to_string(call);
}

[[noreturn]] void refuse(const std::string &path, const json *found, const std::string &accepted) {
  throw std::runtime_error(std::string(indexFile) + ": " + path + ": found " + (found ? found->dump() : "nothing") +
                           "; expected " + accepted);
}

/// Member `name` of `object`, which stands at `path`.
const json &member(const json &object, const std::string &path, const std::string &name, const char *accepted,
                   bool (*accepts)(const json &)) {
  const std::string at = path.empty() ? name : path + "." + name;
  if (!object.is_object())
    refuse(path, &object, "an object");
  auto found = object.find(name);
  if (found == object.end() || !accepts(*found))
    refuse(at, found == object.end() ? nullptr : &*found, accepted);
  return *found;
}

std::string text(const json &object, const std::string &path, const std::string &name) {
  return member(object, path, name, "a text", [](const json &value) { return value.is_string(); });
}
int64_t count(const json &object, const std::string &path, const std::string &name) {
  return member(object, path, name, "an integer from 0 to 2^31 - 1", [](const json &value) {
    return value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= INT32_MAX;
  });
}
const json &objectIn(const json &object, const std::string &path, const std::string &name) {
  return member(object, path, name, "an object", [](const json &value) { return value.is_object(); });
}
const json &listIn(const json &object, const std::string &path, const std::string &name) {
  return member(object, path, name, "an array with one entry or more",
                [](const json &value) { return value.is_array() && !value.empty(); });
}
std::string hash(const json &object, const std::string &path, const std::string &name) {
  return member(object, path, name, "64 hexadecimal digits", [](const json &value) {
    return value.is_string() && value.get<std::string>().size() == 64 &&
           value.get<std::string>().find_first_not_of("0123456789abcdef") == std::string::npos;
  });
}

Phase phaseOf(const json &row, const std::string &path) {
  const std::string name = text(row, path, "phase");
  for (Phase phase : packPhases)
    if (phaseName(phase) == name)
      return phase;
  refuse(path + ".phase", &row.at("phase"), "append, decode, prefill or merge");
}

BundleCandidate candidateOf(const json &value, const std::string &path) {
  BundleCandidate candidate;
  candidate.fields = objectIn(value, path, "schedule");
  candidate.text = text(value, path, "text");
  if (value.contains("problem")) {
    candidate.problem = text(value, path, "problem");
    return candidate;
  }
  candidate.code = hash(value, path, "code");
  candidate.memory.storage = {count(value, path, "value_block"), count(value, path, "page_size")};
  candidate.memory.split = count(value, path, "split");
  // Bundles of before have none: their kernels' tiles are on the stack.
  candidate.memory.scratch = value.contains("scratch") ? count(value, path, "scratch") : 0;
  return candidate;
}

BundleQuestion questionOf(const json &value, const std::string &path) {
  BundleQuestion question;
  const std::string ofCall = path + ".call";
  const json &call = objectIn(value, path, "call");
  bench::Row &row = question.row;
  row.phase = phaseOf(call, ofCall);
  row.config = text(call, ofCall, "variant_name");
  row.variant = objectIn(call, ofCall, "variant");
  row.cached = count(call, ofCall, "cached");
  row.tokens = count(call, ofCall, "tokens");
  row.requests = count(call, ofCall, "requests");
  row.threads = static_cast<int>(count(call, ofCall, "threads"));
  if (row.threads < 1 || row.tokens < 1 || row.requests < row.threads || row.requests % row.threads != 0)
    refuse(ofCall, &call, "a token or more, a thread or more, and requests divisible by the threads");
  row.implementation = "tpac";
  question.key = objectIn(value, path, "key");
  question.effort = text(value, path, "effort");
  question.pageSize = count(value, path, "page_size");
  question.inputs = hash(value, path, "inputs");
  for (const json &candidate : listIn(value, path, "candidates"))
    question.candidates.push_back(
        candidateOf(candidate, path + ".candidates[" + std::to_string(question.candidates.size()) + "]"));
  return question;
}

} // namespace

struct Bundle::Content {
  runtime::PackFiles files;
  std::string id, target;
  json toolchain;
  std::vector<BundleQuestion> questions;
};

const std::string &Bundle::target() const { return content->target; }
const json &Bundle::toolchain() const { return content->toolchain; }
const std::vector<BundleQuestion> &Bundle::questions() const { return content->questions; }
const std::string &Bundle::id() const { return content->id; }

Bundle Bundle::open(const std::filesystem::path &file) {
  try {
    auto content = std::make_shared<Content>();
    content->files = runtime::PackFiles::open(file);
    const std::string index = content->files.read(indexFile);
    const json value = json::parse(index, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded())
      throw std::runtime_error(std::string(indexFile) + ": found text that is not JSON");
    if (const int64_t format = count(value, "", "tpac_bundle"); format != formatVersion)
      refuse("tpac_bundle", &value.at("tpac_bundle"), std::to_string(formatVersion) + ", which this tpac reads");
    content->id = sha256(index);
    content->target = text(value, "", "target");
    content->toolchain = objectIn(value, "", "toolchain");
    for (const json &question : listIn(value, "", "questions"))
      content->questions.push_back(
          questionOf(question, "questions[" + std::to_string(content->questions.size()) + "]"));
    Bundle bundle;
    bundle.content = std::move(content);
    return bundle;
  } catch (const std::exception &error) {
    throw std::runtime_error(file.string() + ": " + error.what());
  }
}

Artifact Bundle::artifact(size_t number, const std::string &schedule) const {
  const BundleQuestion &question = questions().at(number);
  auto found = std::ranges::find(question.candidates, schedule, &BundleCandidate::text);
  if (found == question.candidates.end())
    throw std::runtime_error("the bundle has no candidate " + schedule);
  if (!found->problem.empty())
    throw std::runtime_error(found->problem);
  return {content->files.read(codeFile(found->code)), found->code, found->memory};
}

void Bundle::fill(size_t number, ReferenceCalls &calls) const {
  if (const std::string found = calls.inputsHash(), &expected = questions().at(number).inputs; found != expected)
    throw std::runtime_error("inputs of small calls: found hash " + found + "; expected " + expected +
                             ": the tpac that wrote the bundle makes other ones");
  for (size_t i = 0; i < calls.calls.size(); ++i)
    calls.calls[i]->setOutputs(content->files.read(outputsFile(number, i)));
}

BundleWriter::BundleWriter(const std::filesystem::path &file, const std::string &target, const json &toolchain)
    : file(file), unfinished(file.string() + ".tmp"), writer(take(llvm::TarWriter::create(unfinished.string(), "."))),
      index({{"tpac_bundle", formatVersion},
             {"target", target},
             {"toolchain", toolchain},
             {"questions", ordered_json::array()}}) {}

BundleWriter::~BundleWriter() {
  std::error_code ignored;
  std::filesystem::remove(unfinished, ignored);
}

void BundleWriter::add(BundleQuestion question, const std::vector<std::shared_ptr<const Artifact>> &artifacts,
                       const ReferenceCalls &calls) {
  const size_t number = index.at("questions").size();
  const bench::Row &row = question.row;
  ordered_json candidates = ordered_json::array();
  for (size_t i = 0; i < question.candidates.size(); ++i) {
    const BundleCandidate &candidate = question.candidates[i];
    ordered_json one = {{"schedule", candidate.fields}, {"text", candidate.text}};
    if (!candidate.problem.empty()) {
      one["problem"] = candidate.problem;
    } else {
      const Artifact &artifact = *artifacts[i];
      one["code"] = artifact.code;
      one["value_block"] = artifact.memory.storage.valueBlock;
      one["page_size"] = artifact.memory.storage.pageSize;
      one["split"] = artifact.memory.split;
      one["scratch"] = artifact.memory.scratch;
      if (!std::exchange(written[artifact.code], true))
        writer->append(codeFile(artifact.code), artifact.bytes);
    }
    candidates.push_back(std::move(one));
  }
  for (size_t i = 0; i < calls.calls.size(); ++i)
    writer->append(outputsFile(number, i), calls.calls[i]->outputs());
  index["questions"].push_back({{"call",
                                 {{"phase", phaseName(row.phase)},
                                  {"variant_name", row.config},
                                  {"variant", row.variant},
                                  {"cached", row.cached},
                                  {"tokens", row.tokens},
                                  {"requests", row.requests},
                                  {"threads", row.threads}}},
                                {"key", question.key},
                                {"effort", question.effort},
                                {"page_size", question.pageSize},
                                {"inputs", calls.inputsHash()},
                                {"candidates", std::move(candidates)}});
}

void BundleWriter::finish() {
  writer->append(indexFile, index.dump(1));
  writer.reset();
  std::filesystem::rename(unfinished, file);
}

} // namespace tpac::autotune
