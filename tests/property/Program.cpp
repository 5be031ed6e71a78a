// SPDX-License-Identifier: Apache-2.0

#include "tests/property/Program.h"

#include "lowering/execute/Executable.h"
#include "tests/property/EmulatedProgram.h"
#include "tests/property/InterpretedProgram.h"
#include "tests/unit/emit/TestExecutor.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace property {
namespace {

using tpac::Phase;

/// Memory for split caches or scratch, aligned, between guards. Its bytes make NaN of every type.
class Workspace {
public:
  explicit Workspace(int64_t size) : size(static_cast<size_t>(size)), lines(2 + (this->size + 63) / 64) {
    std::memset(lines.data(), 0xff, 64 * lines.size());
  }

  void *data() { return &lines[1]; }
  bool isIntact() const {
    const auto *bytes = reinterpret_cast<const unsigned char *>(lines.data());
    auto isPoison = [](unsigned char byte) { return byte == 0xff; };
    return std::all_of(bytes, bytes + 64, isPoison) &&
           std::all_of(bytes + 64 + size, bytes + 64 * lines.size(), isPoison);
  }

private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  size_t size;
  std::vector<Line> lines;
};

class CompiledProgram : public Program {
public:
  CompiledProgram(const Route &route, const std::string &variantJson, std::span<const Phase> phases,
                  tpac::CacheStorage storage)
      : executable(tpac::Executable::compile(variantJson, phases, route.path, route.target, storage.valueBlock,
                                             storage.pageSize)),
        isShared(route.name == "fused") {}

  const tpac::PhaseSignature &signature(Phase phase) const override { return executable->signature(phase); }

  void call(Phase phase, const std::vector<int64_t> &sizes, const std::vector<Argument> &arguments) const override {
    const tpac::PhaseSignature &signature = executable->signature(phase);
    tpac::PhaseCall call(signature);
    for (size_t i = 0; i < sizes.size(); ++i)
      call.setSize(signature.sizes[i], sizes[i]);
    for (const Argument &argument : arguments)
      call.setTensor(argument.name, argument.data, argument.strides);
    tpac::test::TestExecutor executor(2, static_cast<unsigned>(sizes.front()));
    int64_t workspaceSize = phase == Phase::decode ? executable->workspaceSize(phase, sizes[0], sizes[1], sizes[2]) : 0;
    // Two threads share the items, one, or as many as would be left over.
    const int64_t threads = 1 + sizes.front() % 3;
    Workspace workspace(workspaceSize), scratch(signature.scratch * threads);
    if (isShared) {
      call.setExecutor(executor.get());
      if (phase == Phase::decode)
        call.setWorkspace(workspace.data(), workspaceSize);
      call.setScratch(signature.scratch > 0 ? scratch.data() : nullptr, signature.scratch * threads);
    }
    if (int32_t status = call.run(executable->function(phase)))
      throw std::runtime_error(std::string(tpac::phaseName(phase)) + " returned status " + std::to_string(status) +
                               ": " + executable->statusMessage(phase, status));
    if (!workspace.isIntact() || !scratch.isIntact())
      throw std::runtime_error(std::string(tpac::phaseName(phase)) + " wrote beside its workspace or scratch");
    if (isShared && executor.runs() == 0)
      throw std::runtime_error(std::string(tpac::phaseName(phase)) + " did not use its executor");
  }

private:
  std::unique_ptr<tpac::Executable> executable;
  /// Whether calls run on two threads, in random order.
  bool isShared;
};

} // namespace

std::vector<Route> availableRoutes() {
  using Kind = Route::Kind;
  std::vector<Route> routes = {{"reference", Kind::compiled, tpac::CodePath::reference},
                               {"tiles", Kind::interpreted},
                               {"fused", Kind::compiled}};
#if defined(__x86_64__)
  // Levels below the host's run on it too.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4"))
    routes.push_back({"fused-x86-64-v4", Kind::compiled, tpac::CodePath::fused, "x86-64-v4"});
  if (__builtin_cpu_supports("x86-64-v3"))
    routes.push_back({"fused-x86-64-v3", Kind::compiled, tpac::CodePath::fused, "x86-64-v3"});
  if (__builtin_cpu_supports("x86-64-v2"))
    routes.push_back({"fused-x86-64-v2", Kind::compiled, tpac::CodePath::fused, "x86-64-v2"});
#endif
#if !defined(__aarch64__)
  routes.push_back({"fused-aarch64", Kind::emulated, tpac::CodePath::fused, "aarch64"});
#endif
  return routes;
}

std::string missingFor(const Route &route) {
  return route.kind == Route::Kind::emulated ? missingEmulator(route.target) : "";
}

std::unique_ptr<Program> Program::make(const Route &route, const std::string &variantJson,
                                       std::span<const Phase> phases, tpac::CacheStorage storage) {
  if (route.kind == Route::Kind::interpreted)
    return makeInterpretedProgram(route, variantJson, phases, storage);
  if (route.kind == Route::Kind::emulated)
    return makeEmulatedProgram(route.target, variantJson, phases, storage);
  return std::make_unique<CompiledProgram>(route, variantJson, phases, storage);
}

} // namespace property
