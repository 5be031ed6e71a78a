// SPDX-License-Identifier: Apache-2.0
//
// Runs the cases that GpuCases wrote on this machine's GPU and compares them with the oracle.
//
//   GpuCheck FOLDER [RESULTS.json [REGEX]]
//
// With REGEX only the cases whose names it matches somewhere (t6-mini-q1/), as under a sanitizer that takes its time.
// Exit code 0: all right, or no GPU (said so); 1: a case failed.

#include "tests/gpu/Elements.h"
#include "tests/gpu/PreparedCase.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <regex>

using namespace tpac::gputest;

namespace {

struct Outcome {
  bool ok = true;
  std::string message;
  oracle::Comparison worst;
};

Outcome run(Driver &driver, const Kernels &kernels, const PreparedCase &prepared) {
  const oracle::Variant &variant = kernels.variant();
  const Case &item = prepared.item;
  const CacheMap &map = prepared.map;
  const oracle::Attention &expected = prepared.expected;
  oracle::Sizes sizes = item.sizes();
  DeviceTensors tensors(driver);
  Kernels::Call call;
  oracle::Type outType = oracle::Type::bf16, lseType = oracle::Type::f32;
  for (const oracle::TensorSpec &spec : oracle::phaseTensors(variant, "decode")) {
    if (spec.name == "out")
      outType = spec.type;
    if (spec.name == "lse")
      lseType = spec.type;
    if (spec.access != "out" && !spec.name.ends_with("_cache"))
      call.tensors[spec.name] = tensors.upload(spec.type, prepared.inputs.at(spec.name), item.isStrided);
  }
  tensors.placePages(call.tensors, map, /*isList=*/false, item.isStrided);
  const std::vector<uint8_t> &cache = prepared.cache;
  call.cache = tensors.allocate(cache.size());
  if (!cache.empty())
    driver.upload(call.cache, cache.data(), cache.size());
  call.batch = sizes.batch;
  call.capacity = sizes.capacity;
  call.tokens = sizes.tokens;
  std::vector<int64_t> outShape = expected.out.shape, lseShape = expected.lse.shape;
  const DeviceTensor outTensor = call.tensors["out"] = tensors.place(outType, outShape, item.isStrided);
  const DeviceTensor lseTensor = call.tensors["lse"] = tensors.place(lseType, lseShape, item.isStrided);

  Outcome outcome;
  size_t workspaceBytes = 0;
  int64_t processors = driver.multiprocessors();
  auto launchAll = [&] {
    size_t workspace = kernels.workspaceBytes(call);
    if (workspace > workspaceBytes) {
      call.workspace = tensors.allocate(workspace);
      workspaceBytes = workspace;
    }
    driver.fill(outTensor.pointer, 0xff, outTensor.bytes);
    driver.fill(lseTensor.pointer, 0xff, lseTensor.bytes);
    driver.fill(call.workspace, 0xff, workspace);
    kernels.launch(call);
    driver.synchronize();
    return std::pair(tensors.download(outType, outTensor, outShape), tensors.download(lseType, lseTensor, lseShape));
  };
  auto compare = [&](const std::string &name, const oracle::Tensor &out, const oracle::Tensor &lse) {
    oracle::Comparison result = prepared.judge(variant, out, lse);
    if (result.worstShare > outcome.worst.worstShare)
      outcome.worst = result;
    if (!result.ok) {
      outcome.ok = false;
      outcome.message = name + ": " + result.message;
    }
  };
  for (int64_t splits : {processors, int64_t(1), int64_t(7), 3 * processors + 1}) {
    call.splits = splits;
    auto [out, lse] = launchAll();
    auto [outAgain, lseAgain] = launchAll();
    if (!hasSameRows(out, outAgain, 0, sizes.tokens) || !hasSameRows(lse, lseAgain, 0, sizes.tokens)) {
      outcome.ok = false;
      outcome.message = "two runs differ with " + std::to_string(splits) + " splits";
    }
    compare(std::to_string(splits) + " splits", out, lse);
    if (map.pageSize() == 0)
      continue;
    const auto byTable = call.tensors;
    tensors.placePages(call.tensors, map, /*isList=*/true, item.isStrided);
    auto [outOfList, lseOfList] = launchAll();
    call.tensors = byTable;
    if (!hasSameRows(out, outOfList, 0, sizes.tokens) || !hasSameRows(lse, lseOfList, 0, sizes.tokens)) {
      outcome.ok = false;
      outcome.message = "a list of pages gives other bits than a table with " + std::to_string(splits) + " splits";
    }
  }

  // Parts of a fixed size: the same bits, whatever else is in the batch and however many thread blocks there are.
  call.blocksOfPart = 2;
  call.splits = processors;
  auto [out, lse] = launchAll();
  compare("parts of 2 blocks", out, lse);
  const Kernels::Call whole = call;
  for (int64_t first = 0; first < sizes.batch; ++first) {
    // The request alone, and it and all behind it.
    for (int64_t count : {int64_t(1), sizes.batch - first}) {
      call.batch = count;
      call.splits = count == 1 ? 3 : processors + 5;
      auto skip = [&](const char *name, int64_t elements) {
        call.tensors[name].pointer = whole.tensors.at(name).pointer + static_cast<size_t>(elements) * sizeof(int32_t);
      };
      skip("lengths", first);
      skip("token_start", first);
      if (map.pageSize() != 0)
        skip("block_table", first * whole.tensors.at("block_table").strides[0]);
      else
        call.cache = whole.cache + map.bytes(first, sizes.capacity);
      auto [itsOut, itsLse] = launchAll();
      const std::vector<double> &starts = prepared.inputs.at("token_start").data;
      auto begin = static_cast<int64_t>(starts[static_cast<size_t>(first)]);
      auto end = static_cast<int64_t>(starts[static_cast<size_t>(first + count)]);
      if (!hasSameRows(out, itsOut, begin, end) || !hasSameRows(lse, itsLse, begin, end)) {
        outcome.ok = false;
        outcome.message = "parts of 2 blocks: request " + std::to_string(first) + " depends on the batch around it";
      }
    }
  }
  return outcome;
}

/// A table of the worst share of the limit: members in rows, kernels and shapes in columns.
void print(const std::map<std::string, std::map<std::string, std::string>> &table) {
  std::vector<std::string> columns;
  for (const auto &[member, row] : table)
    for (const auto &[column, cell] : row)
      if (std::ranges::find(columns, column) == columns.end())
        columns.push_back(column);
  std::ranges::sort(columns);
  for (size_t i = 0; i < columns.size(); ++i)
    std::cout << "  " << static_cast<char>('A' + i) << ": " << columns[i] << "\n";
  auto pad = [](std::string text, size_t width) {
    return text + std::string(width - std::min(width, text.size()), ' ');
  };
  constexpr size_t memberWidth = 28, cellWidth = 6;
  std::cout << pad("share of the limit", memberWidth);
  for (size_t i = 0; i < columns.size(); ++i)
    std::cout << pad(std::string(1, static_cast<char>('A' + i)), cellWidth);
  for (const auto &[member, row] : table) {
    std::cout << "\n" << pad(member, memberWidth);
    for (const std::string &column : columns)
      std::cout << pad(row.contains(column) ? row.at(column) : "-", cellWidth);
  }
  std::cout << "\n";
}

/// The members of `cases` whose names `wanted` matches.
nlohmann::json chosen(const nlohmann::json &cases, const std::regex &wanted) {
  nlohmann::json result = nlohmann::json::array();
  for (const nlohmann::json &item : cases)
    if (std::regex_search(item.at("name").get<std::string>(), wanted))
      result.push_back(item);
  return result;
}

int check(const std::filesystem::path &folder, const char *resultsFile, const std::regex &wanted) {
  Driver driver;
  std::cout << driver.deviceName() << ", compute capability " << driver.capability() << "\n";
  std::vector<char> text = readFile(folder / "cases.json");
  nlohmann::json plan = nlohmann::json::parse(text.begin(), text.end());
  for (const char *cases : {"cases", "element_cases"})
    plan[cases] = chosen(plan.at(cases), wanted);
  std::map<std::string, std::unique_ptr<Kernels>> loaded;
  nlohmann::json results = {{"device", driver.deviceName()}, {"cases", nlohmann::json::array()}};
  int failed = 0, passed = 0;
  // Now and then, so that a run that is cut short says what it has found.
  auto save = [&] {
    results["passed"] = passed;
    results["failed"] = failed;
    if (resultsFile)
      std::ofstream(resultsFile) << results.dump(1) << "\n";
  };
  std::vector<Preparation::Work> work;
  for (const nlohmann::json &entry : plan.at("cases")) {
    const auto item = entry.get<Case>();
    const nlohmann::json &kernel = plan.at("kernels").at(item.kernel);
    const oracle::Variant variant = oracle::parseVariant(kernel.at("variant"));
    work.push_back({costOf(variant, item), bytesOf(kernel.at("cache"), item),
                    [&kernel, variant, item] { return prepare(variant, kernel.at("cache"), item); }});
  }
  Preparation preparation(std::move(work));
  std::map<std::string, std::map<std::string, std::string>> table;
  for (const nlohmann::json &entry : plan.at("cases")) {
    auto item = entry.get<Case>();
    Outcome outcome;
    try {
      auto &kernels = loaded[item.kernel];
      if (!kernels)
        kernels = std::make_unique<Kernels>(driver, folder, plan.at("kernels").at(item.kernel));
      outcome = run(driver, *kernels, preparation.take());
    } catch (const std::exception &error) {
      std::cout << "FAILED " << item.name << ": " << error.what() << "\n";
      std::cout << passed << " passed, " << failed + 1 << " failed; the device cannot go on\n";
      return 1;
    }
    (outcome.ok ? passed : failed) += 1;
    if (!outcome.ok)
      std::cout << "FAILED " << item.name << ": " << outcome.message << std::endl;
    results["cases"].push_back({{"name", item.name},
                                {"ok", outcome.ok},
                                {"lengths", item.lengths},
                                {"queries", item.queries},
                                {"request_error", outcome.worst.worstRequest},
                                {"row_error", outcome.worst.worstRow},
                                {"lse_error", outcome.worst.worstLse},
                                {"share_of_limit", outcome.worst.worstShare}});
    if (!outcome.ok)
      results["cases"].back()["message"] = outcome.message;
    const std::string member = plan.at("kernels").at(item.kernel).at("member");
    char cell[16];
    std::snprintf(cell, sizeof(cell), "%.2f", outcome.worst.worstShare);
    // Page sizes differ from member to member.
    const std::string column = std::regex_replace(item.name.substr(member.size() + 1), std::regex("page\\d+"), "pages");
    table[member][column] = outcome.ok ? cell : "FAIL";
    constexpr int casesBetweenSaves = 50;
    if ((passed + failed) % casesBetweenSaves == 0)
      save();
  }
  print(table);
  std::map<std::string, std::unique_ptr<ElementKernels>> elements;
  for (const nlohmann::json &entry : plan.at("element_cases")) {
    auto item = entry.get<ElementCase>();
    std::string message;
    try {
      auto &kernels = elements[item.kernels];
      if (!kernels)
        kernels = std::make_unique<ElementKernels>(driver, folder, plan.at("elements").at(item.kernels));
      kernels->check(item);
    } catch (const std::exception &error) {
      message = error.what();
      std::cout << "FAILED " << item.name << ": " << message << "\n";
    }
    (message.empty() ? passed : failed) += 1;
    results["cases"].push_back({{"name", item.name}, {"ok", message.empty()}});
  }
  save();
  std::cout << passed << " passed, " << failed << " failed\n";
  return failed ? 1 : 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    std::cerr << "usage: GpuCheck FOLDER [RESULTS.json [REGEX]]\n";
    return 2;
  }
  return runOnDevice("GpuCheck",
                     [&] { return check(argv[1], argc > 2 ? argv[2] : nullptr, std::regex(argc > 3 ? argv[3] : "")); });
}
