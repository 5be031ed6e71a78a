// SPDX-License-Identifier: Apache-2.0

#include "lowering/emit/Assembler.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

namespace tpac {

std::optional<std::string> findPtxas() {
  if (const char *given = std::getenv("TPAC_PTXAS"))
    return *given ? std::optional<std::string>(given) : std::nullopt;
  if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  // build/PRESET/bin/tpac and build/ptxas.
  static int anchor;
  llvm::SmallString<128> beside(llvm::sys::fs::getMainExecutable(nullptr, &anchor));
  for (int level = 0; level < 3; ++level)
    llvm::sys::path::remove_filename(beside);
  llvm::sys::path::append(beside, "ptxas", "nvidia", "cu13", "bin");
  if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName(
          "ptxas", {beside.str(), "/usr/local/cuda/bin", "/usr/lib/nvidia-cuda-toolkit/bin"}))
    return *found;
  return std::nullopt;
}

/// Content of a file; empty where it cannot be read.
static std::string readAll(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

llvm::Expected<Cubin> assemblePtx(const std::string &ptxas, const std::string &ptx, const std::string &chip) {
  struct TemporaryFile {
    explicit TemporaryFile(llvm::StringRef suffix) { error = llvm::sys::fs::createTemporaryFile("tpac", suffix, path); }
    ~TemporaryFile() { llvm::sys::fs::remove(path); }
    llvm::SmallString<128> path;
    std::error_code error;
  };
  TemporaryFile source("ptx"), cubin("cubin"), log("log");
  for (const TemporaryFile *file : {&source, &cubin, &log})
    if (file->error)
      return llvm::createStringError("a temporary file cannot be made: " + file->error.message());
  std::error_code error;
  {
    llvm::raw_fd_ostream stream(source.path, error);
    stream << ptx;
  }
  if (error)
    return llvm::createStringError("a temporary file cannot be written: " + error.message());
  const std::string arch = "-arch=" + chip;
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, log.path.str(), log.path.str()};
  std::string message;
  if (llvm::sys::ExecuteAndWait(ptxas, {ptxas, "-v", arch, source.path, "-o", cubin.path}, std::nullopt, redirects, 0,
                                0, &message) != 0)
    return llvm::createStringError(ptxas + " " + arch + " failed: " + message + readAll(log.path));
  return Cubin{readAll(cubin.path), readAll(log.path)};
}

llvm::Expected<std::vector<KernelResources>> kernelResources(llvm::StringRef log) {
  std::vector<KernelResources> kernels;
  bool isComplete = true;
  // "12 bytes spill stores": the number before `what`.
  auto numberBefore = [](llvm::StringRef line, llvm::StringRef what, int64_t &number) {
    const size_t at = line.find(what);
    if (at == llvm::StringRef::npos)
      return false;
    llvm::StringRef digits = line.take_front(at).rtrim();
    digits = digits.substr(digits.find_last_not_of("0123456789") + 1);
    return !digits.getAsInteger(10, number);
  };
  for (llvm::StringRef rest = log; !rest.empty();) {
    llvm::StringRef line;
    std::tie(line, rest) = rest.split('\n');
    if (const size_t at = line.find("Compiling entry function '"); at != llvm::StringRef::npos) {
      if (!isComplete)
        break;
      kernels.push_back({line.substr(at).split('\'').second.split('\'').first.str()});
      isComplete = false;
    } else if (!kernels.empty() && line.contains("bytes stack frame")) {
      KernelResources &last = kernels.back();
      if (!numberBefore(line, " bytes stack frame", last.localBytes) ||
          !numberBefore(line, " bytes spill stores", last.spillStoreBytes) ||
          !numberBefore(line, " bytes spill loads", last.spillLoadBytes))
        break;
    } else if (line.contains("Used ") && line.contains(" registers") && !kernels.empty()) {
      isComplete = numberBefore(line, " registers", kernels.back().registers);
    }
  }
  if (kernels.empty() || !isComplete)
    return llvm::createStringError("ptxas does not say what its kernels take: " + log);
  return kernels;
}

} // namespace tpac
