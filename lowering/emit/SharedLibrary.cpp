// SPDX-License-Identifier: Apache-2.0
//
// Finds and runs the C compiler driver. What is exported is decided by the object file's symbols.

#include "lowering/emit/SharedLibrary.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

namespace tpac {

namespace {

std::vector<std::string> driverNames(const CodeTarget &target) {
  const llvm::Triple triple(target.triple);
  if (triple.getArch() == llvm::Triple(llvm::sys::getDefaultTargetTriple()).getArch())
    return {"cc", "gcc", "clang-22", "clang"};
  return {triple.getArchName().str() + "-linux-gnu-gcc"};
}

} // namespace

llvm::Error linkSharedLibrary(const CodeTarget &target, const std::string &objectPath, const std::string &outputPath,
                              const std::string &soname) {
  const std::vector<std::string> names = driverNames(target);
  std::string driver;
  for (const std::string &name : names) {
    if (auto found = llvm::sys::findProgramByName(name)) {
      driver = *found;
      break;
    }
  }
  if (driver.empty())
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "no C compiler to link the shared library for target '" + target.name +
                                       "': searched PATH for " + llvm::join(names, ", "));

  llvm::SmallString<128> logPath;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("tpac-link", "log", logPath))
    return llvm::createStringError(error, "cannot make a temporary file for the linker's messages: " + error.message());
  llvm::FileRemover removeLog(logPath);

  const std::string sonameFlag = "-Wl,-soname," + soname;
  const std::vector<llvm::StringRef> arguments = {driver,
                                                  "-shared",
                                                  "-o",
                                                  outputPath,
                                                  objectPath,
                                                  sonameFlag,
                                                  "-Wl,--no-undefined",
                                                  "-Wl,-z,noexecstack",
                                                  "-Wl,--as-needed",
                                                  "-lm"};
  const std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), logPath.str(), logPath.str()};
  std::string failure;
  const int exitCode = llvm::sys::ExecuteAndWait(driver, arguments, std::nullopt, redirects, /*SecondsToWait=*/0,
                                                 /*MemoryLimit=*/0, &failure);
  if (exitCode == 0)
    return llvm::Error::success();
  std::string said = failure;
  if (auto log = llvm::MemoryBuffer::getFile(logPath))
    said += (*log)->getBuffer().str();
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "'" + driver + "' could not link " + soname +
                                                                     " (exit code " + std::to_string(exitCode) +
                                                                     "):\n" + said);
}

} // namespace tpac
