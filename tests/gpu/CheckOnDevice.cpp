// SPDX-License-Identifier: Apache-2.0
//
// Runs the cases that GpuCases wrote on this machine's GPU and compares them with the oracle.
//
//   GpuCheck FOLDER [RESULTS.json]
//
// Exit code 0: all right, or no GPU (said so); 1: a case failed.

#include "tests/gpu/Elements.h"
#include "tests/oracle/Compare.h"

#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>

using namespace tpac::gputest;

namespace {

oracle::Tensor readTensor(const std::vector<char> &file, size_t &at, std::vector<int64_t> shape) {
  oracle::Tensor tensor(std::move(shape));
  for (double &value : tensor.data) {
    if (at + sizeof(float) > file.size())
      throw std::runtime_error("expected.bin is too short");
    float number;
    std::memcpy(&number, &file[at], sizeof(number));
    at += sizeof(number);
    value = number;
  }
  return tensor;
}

struct Outcome {
  bool ok = true;
  std::string message;
  oracle::Comparison worst;
};

Outcome run(Driver &driver, const Kernels &kernels, const Case &item, const oracle::Attention &expected) {
  const oracle::Variant &variant = kernels.variant();
  oracle::Sizes sizes = item.sizes();
  oracle::Tensors inputs = makeInputs(variant, item);
  DeviceTensors tensors(driver);
  Kernels::Call call;
  oracle::Type outType = oracle::Type::bf16, lseType = oracle::Type::f32;
  for (const oracle::TensorSpec &spec : oracle::phaseTensors(variant, "decode")) {
    if (spec.name == "out")
      outType = spec.type;
    if (spec.name == "lse")
      lseType = spec.type;
    if (spec.access != "out" && !spec.name.ends_with("_cache"))
      call.tensors[spec.name] = tensors.upload(spec.type, inputs.at(spec.name), item.isStrided);
  }
  CacheMap map = kernels.cache();
  map.drawPages(item.lengths, item.capacity, item.seed, item.sharedTokens);
  if (map.pageSize() != 0)
    call.tensors["block_table"] = tensors.upload(oracle::Type::i32, map.table(), item.isStrided);
  std::vector<uint8_t> cache = map.layOut(item.lengths, item.capacity, inputs);
  call.cache = tensors.allocate(cache.size());
  if (!cache.empty())
    driver.upload(call.cache, cache.data(), cache.size());
  call.batch = sizes.batch;
  call.capacity = sizes.capacity;
  call.tokens = sizes.tokens;
  std::vector<int64_t> outShape = expected.out.shape, lseShape = expected.lse.shape;
  const DeviceTensor &outTensor = call.tensors["out"] = tensors.place(outType, outShape, item.isStrided);
  const DeviceTensor &lseTensor = call.tensors["lse"] = tensors.place(lseType, lseShape, item.isStrided);

  Outcome outcome;
  size_t workspaceBytes = 0;
  int64_t longest = 0;
  for (int64_t length : item.lengths)
    longest = std::max(longest, length);
  double tolerance = oracle::requestTolerance(variant, longest);
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
  auto isSame = [](const oracle::Tensor &x, const oracle::Tensor &y, int64_t begin, int64_t end) {
    auto row = static_cast<int64_t>(x.data.size()) / std::max<int64_t>(x.shape[0], 1);
    return std::memcmp(&x.data[begin * row], &y.data[begin * row], (end - begin) * row * sizeof(double)) == 0;
  };
  auto compare = [&](const std::string &name, const oracle::Tensor &out, const oracle::Tensor &lse) {
    oracle::Comparison result = oracle::compare(variant, inputs.at("token_start"), tolerance, out, lse, expected);
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
    if (!isSame(out, outAgain, 0, sizes.tokens) || !isSame(lse, lseAgain, 0, sizes.tokens)) {
      outcome.ok = false;
      outcome.message = "two runs differ with " + std::to_string(splits) + " splits";
    }
    compare(std::to_string(splits) + " splits", out, lse);
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
      const std::vector<double> &starts = inputs.at("token_start").data;
      auto begin = static_cast<int64_t>(starts[static_cast<size_t>(first)]);
      auto end = static_cast<int64_t>(starts[static_cast<size_t>(first + count)]);
      if (!isSame(out, itsOut, begin, end) || !isSame(lse, itsLse, begin, end)) {
        outcome.ok = false;
        outcome.message = "parts of 2 blocks: request " + std::to_string(first) + " depends on the batch around it";
      }
    }
  }
  return outcome;
}

int check(const std::filesystem::path &folder, const char *resultsFile) {
  Driver driver;
  std::cout << driver.deviceName() << ", compute capability " << driver.capability() << "\n";
  std::vector<char> text = readFile(folder / "cases.json"), numbers = readFile(folder / "expected.bin");
  nlohmann::json plan = nlohmann::json::parse(text.begin(), text.end());
  std::map<std::string, std::unique_ptr<Kernels>> loaded;
  nlohmann::json results = {{"device", driver.deviceName()}, {"cases", nlohmann::json::array()}};
  size_t at = 0;
  int failed = 0, passed = 0;
  for (const nlohmann::json &entry : plan.at("cases")) {
    auto item = entry.get<Case>();
    Outcome outcome;
    try {
      auto &kernels = loaded[item.kernel];
      if (!kernels)
        kernels = std::make_unique<Kernels>(driver, folder, plan.at("kernels").at(item.kernel));
      const oracle::Variant &variant = kernels->variant();
      int64_t tokens = item.sizes().tokens, heads = variant.localHeads();
      oracle::Attention expected;
      expected.out = readTensor(numbers, at, {tokens, heads, variant.v.features()});
      expected.lse = readTensor(numbers, at, {tokens, heads});
      expected.maxLogit = readTensor(numbers, at, {tokens, heads});
      outcome = run(driver, *kernels, item, expected);
    } catch (const std::exception &error) {
      std::cout << "FAILED " << item.name << ": " << error.what() << "\n";
      std::cout << passed << " passed, " << failed + 1 << " failed; the device cannot go on\n";
      return 1;
    }
    (outcome.ok ? passed : failed) += 1;
    if (!outcome.ok)
      std::cout << "FAILED " << item.name << ": " << outcome.message << "\n";
    results["cases"].push_back({{"name", item.name},
                                {"ok", outcome.ok},
                                {"request_error", outcome.worst.worstRequest},
                                {"row_error", outcome.worst.worstRow},
                                {"lse_error", outcome.worst.worstLse},
                                {"share_of_limit", outcome.worst.worstShare}});
  }
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
  results["passed"] = passed;
  results["failed"] = failed;
  if (resultsFile)
    std::ofstream(resultsFile) << results.dump(1) << "\n";
  std::cout << passed << " passed, " << failed << " failed\n";
  return failed ? 1 : 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: GpuCheck FOLDER [RESULTS.json]\n";
    return 2;
  }
  try {
    return check(argv[1], argc > 2 ? argv[2] : nullptr);
  } catch (const NoDevice &error) {
    std::cout << "skipped: " << error.what() << "\n";
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "GpuCheck: " << error.what() << "\n";
    return 1;
  }
}
