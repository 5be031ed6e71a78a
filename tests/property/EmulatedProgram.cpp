// SPDX-License-Identifier: Apache-2.0
//
// Builds the pack and PhaseRunner.c, starts the runner in the emulator, and sends it calls; the tensors' memory goes
// over and comes back with every call.

#include "tests/property/EmulatedProgram.h"

#include "dialect/json/VariantJson.h"
#include "lowering/Compiler.h"
#include "lowering/emit/CInterface.h"
#include "lowering/emit/PackWriter.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"
#include "llvm/TargetParser/Triple.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <spawn.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace property {
namespace {

using tpac::Phase;

template <typename T> T take(llvm::Expected<T> expected) {
  if (!expected)
    throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

std::string architectureOf(const std::string &target) {
  return llvm::Triple(take(tpac::findTarget(target)).triple).getArchName().str();
}

/// A fresh directory, removed with everything in it at the end of its scope.
class Directory {
public:
  Directory() {
    llvm::SmallString<128> name;
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("tpac-emulated", name))
      throw std::runtime_error("cannot make a temporary directory: " + error.message());
    path = std::string(name);
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Directory(const Directory &) = delete;
  Directory &operator=(const Directory &) = delete;

  std::filesystem::path path;
};

/// PhaseRunner.c compiled for `architecture`, once per process.
const std::filesystem::path &runnerFor(const std::string &architecture) {
  static std::mutex mutex;
  static Directory directory;
  static std::map<std::string, std::filesystem::path> runners;
  std::lock_guard<std::mutex> lock(mutex);
  std::filesystem::path &runner = runners[architecture];
  if (runner.empty()) {
    const std::string compiler = architecture + "-linux-gnu-gcc";
    auto program = llvm::sys::findProgramByName(compiler);
    if (!program)
      throw std::runtime_error(compiler + " is not installed (packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)");
    const std::string output = directory.path / ("runner-" + architecture);
    if (llvm::sys::ExecuteAndWait(*program, {compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", output,
                                             TPAC_SOURCE_ROOT "/tests/property/PhaseRunner.c", "-ldl"}) != 0)
      throw std::runtime_error(compiler + " could not compile PhaseRunner.c");
    runner = output;
  }
  return runner;
}

/// A child process whose stdin and stdout are one socket.
class Process {
public:
  explicit Process(const std::vector<std::string> &command) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw std::runtime_error("socketpair: " + std::string(std::strerror(errno)));
    socket = ends[0];
    std::vector<char *> arguments;
    for (const std::string &argument : command)
      arguments.push_back(const_cast<char *>(argument.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    const int error = posix_spawnp(&id, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error != 0) {
      close(socket);
      throw std::runtime_error(command[0] + ": " + std::strerror(error));
    }
  }
  ~Process() {
    close(socket);
    if (id > 0)
      waitpid(id, nullptr, 0);
  }
  Process(const Process &) = delete;
  Process &operator=(const Process &) = delete;

  void send(const void *data, size_t bytes) {
    for (auto *next = static_cast<const char *>(data); bytes > 0;) {
      const ssize_t count = ::send(socket, next, bytes, MSG_NOSIGNAL);
      if (count <= 0)
        end();
      next += count;
      bytes -= static_cast<size_t>(count);
    }
  }
  void receive(void *data, size_t bytes) {
    for (auto *next = static_cast<char *>(data); bytes > 0;) {
      const ssize_t count = recv(socket, next, bytes, 0);
      if (count <= 0)
        end();
      next += count;
      bytes -= static_cast<size_t>(count);
    }
  }
  void sendNumber(int64_t number) { send(&number, sizeof(number)); }
  void sendName(const std::string &name) {
    sendNumber(static_cast<int64_t>(name.size()));
    send(name.data(), name.size());
  }
  int64_t receiveNumber() {
    int64_t number;
    receive(&number, sizeof(number));
    return number;
  }

private:
  [[noreturn]] void end() {
    int status = 0;
    waitpid(id, &status, 0);
    id = 0;
    throw std::runtime_error("the emulated process ended " +
                             (WIFSIGNALED(status) ? "by signal " + std::to_string(WTERMSIG(status))
                                                  : "with code " + std::to_string(WEXITSTATUS(status))));
  }

  int socket = -1;
  pid_t id = 0;
};

class EmulatedProgram : public Program {
public:
  EmulatedProgram(const std::string &target, const std::string &variantJson, std::span<const Phase> phases,
                  tpac::CacheStorage storage) {
    mlir::DialectRegistry registry;
    tpac::registerCompilerDialects(registry);
    mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
    auto variant = take(mlir::tpa::readVariant(variantJson, "variant", context));
    tpac::Pack pack{variant.getName().getValue().str(), variantJson, {}};
    for (Phase phase : phases)
      pack.signatures.push_back(tpac::getPhaseSignature(variant, phase, storage));
    std::vector<tpac::CodeTarget> targets = take(tpac::findPackTargets({target}));
    auto module = take(tpac::lowerPhases(variant, {phases.data(), phases.size()}, tpac::Stage::target,
                                         tpac::CodePath::fused, targets.front(), storage));
    prefix = tpac::symbolName(pack.name);
    signatures = tpac::getCompiledSignatures(*module, pack.signatures);
    const std::filesystem::path path = directory.path / "pack";
    if (llvm::Error error = tpac::writePack({{*module, targets.front()}}, pack, path.string()))
      throw std::runtime_error(llvm::toString(std::move(error)));
    const std::string architecture = architectureOf(target);
    process = std::make_unique<Process>(
        std::vector<std::string>{"qemu-" + architecture, "-cpu", "max", "-L", "/usr/" + architecture + "-linux-gnu",
                                 runnerFor(architecture), path / "lib" / ("lib" + prefix + ".so")});
  }

  const tpac::PhaseSignature &signature(Phase phase) const override {
    auto found = std::ranges::find(signatures, phase, &tpac::PhaseSignature::phase);
    if (found == signatures.end())
      throw std::runtime_error(std::string(tpac::phaseName(phase)) + " was not built");
    return *found;
  }

  void call(Phase phase, const std::vector<int64_t> &sizes, const std::vector<Argument> &arguments) const override {
    enum { value, array, memory }; // as in PhaseRunner.c
    const tpac::PhaseSignature &tensors = signature(phase);
    process->sendNumber(static_cast<int64_t>(tpac::requiredWords(tensors)));
    process->sendName(tpac::functionName(prefix, phase));
    process->sendName(tensors.split > 0 ? tpac::workspaceSizeName(prefix, phase) : "");
    for (int64_t size : sizes) {
      process->sendNumber(value);
      process->sendNumber(size);
    }
    std::vector<size_t> bytes;
    for (size_t i = 0; i < arguments.size(); ++i) {
      // An optional tensor that is not there is NULL there, too.
      const bool exists = arguments[i].data != nullptr;
      bytes.push_back(exists ? bytesOf(tensors.tensors[i].elementType, arguments[i]) : 0);
      process->sendNumber(exists ? memory : value);
      process->sendNumber(static_cast<int64_t>(bytes[i]));
      if (exists) {
        process->sendNumber(static_cast<int64_t>(reinterpret_cast<uintptr_t>(arguments[i].data) % 64));
        process->send(arguments[i].data, bytes[i]);
      }
      process->sendNumber(array);
      process->sendNumber(static_cast<int64_t>(arguments[i].strides.size()));
      process->send(arguments[i].strides.data(), arguments[i].strides.size() * sizeof(int64_t));
    }

    const int64_t status = process->receiveNumber();
    std::string text(static_cast<size_t>(process->receiveNumber()), ' ');
    process->receive(text.data(), text.size());
    for (size_t i = 0; i < arguments.size(); ++i)
      process->receive(arguments[i].data, bytes[i]);
    if (status != 0)
      throw std::runtime_error(std::string(tpac::phaseName(phase)) + " returned status " + std::to_string(status) +
                               ": " + text);
  }

private:
  /// Of the memory from the first to the last element.
  static size_t bytesOf(tpac::ElementType type, const Argument &argument) {
    int64_t last = 0, contiguous = 1;
    for (size_t i = argument.shape.size(); i-- > 0;) {
      if (argument.shape[i] == 0)
        return 0;
      last += (argument.shape[i] - 1) * (argument.strides.empty() ? contiguous : argument.strides[i]);
      contiguous *= argument.shape[i];
    }
    return static_cast<size_t>((last + 1) * tpac::elementSize(type));
  }

  Directory directory;
  std::string prefix;
  std::vector<tpac::PhaseSignature> signatures;
  std::unique_ptr<Process> process;
};

} // namespace

std::string missingEmulator(const std::string &target) {
  const std::string emulator = "qemu-" + architectureOf(target);
  return llvm::sys::findProgramByName(emulator) ? "" : emulator + " is not installed (package qemu-user)";
}

std::unique_ptr<Program> makeEmulatedProgram(const std::string &target, const std::string &variantJson,
                                             std::span<const Phase> phases, tpac::CacheStorage storage) {
  return std::make_unique<EmulatedProgram>(target, variantJson, phases, storage);
}

} // namespace property
