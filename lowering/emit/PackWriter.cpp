// SPDX-License-Identifier: Apache-2.0
//
// Puts a pack's files together and moves the finished directory into place.

#include "lowering/emit/PackWriter.h"

#include "lowering/emit/CInterface.h"
#include "lowering/emit/Header.h"
#include "lowering/emit/LevelDispatch.h"
#include "lowering/emit/Manifest.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/SharedLibrary.h"
#include "lowering/emit/SignatureText.h"
#include "tpac/Version.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace fs = std::filesystem;

namespace tpac {

namespace {

llvm::Error makeError(const std::string &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

llvm::Expected<std::string> readFile(const fs::path &path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream content;
  content << stream.rdbuf();
  if (!stream || content.fail())
    return makeError("cannot read " + path.string());
  return content.str();
}

llvm::Error writeFile(const fs::path &path, const std::string &content) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << content;
  stream.close();
  if (error || !stream)
    return makeError("cannot write " + path.string() + (error ? ": " + error.message() : ""));
  return llvm::Error::success();
}

/// `pack` with what follows from the levels: their names, and the largest split and scratch of each phase.
Pack describe(const Pack &pack, llvm::ArrayRef<TargetModule> levels) {
  Pack described = pack;
  described.targets.clear();
  for (const TargetModule &level : levels) {
    described.targets.push_back(level.target.name);
    const std::vector<PhaseSignature> own = getCompiledSignatures(level.module, pack.signatures);
    for (auto [signature, level] : llvm::zip(described.signatures, own)) {
      signature.split = std::max(signature.split, level.split);
      signature.scratch = std::max(signature.scratch, level.scratch);
    }
  }
  return described;
}

/// The machine code of `levels` with the C interface of `pack`, which describe() gave.
llvm::Expected<std::string> compile(llvm::ArrayRef<TargetModule> levels, const Pack &pack) {
  const std::string prefix = symbolName(pack.name);
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> copies;
  std::vector<TargetModule> modules;
  std::vector<CodeTarget> targets;
  std::string diagnostics;
  mlir::MLIRContext *context = mlir::ModuleOp(levels.front().module)->getContext();
  for (TargetModule level : levels) {
    mlir::ScopedDiagnosticHandler handler(context, [&](mlir::Diagnostic &diagnostic) {
      diagnostics += "\n" + diagnostic.str();
      return mlir::success();
    });
    copies.push_back(level.module.clone());
    if (mlir::failed(addLevelInterface(*copies.back(), prefix, levelSuffix(level.target), pack.signatures)))
      return makeError("the C interface of '" + pack.name + "' cannot be made:" + diagnostics);
    level.module = *copies.back();
    modules.push_back(level);
    targets.push_back(level.target);
  }
  return emitLevelsObject(*buildLevelDispatch(*context, prefix, pack.signatures, targets), modules);
}

llvm::Expected<std::string> archive(const std::string &object, const std::string &memberName) {
  llvm::NewArchiveMember member(llvm::MemoryBufferRef(object, memberName));
  std::vector<llvm::NewArchiveMember> members;
  members.push_back(std::move(member));
  auto buffer = llvm::writeArchiveToBuffer(members, llvm::SymtabWritingMode::NormalSymtab, llvm::object::Archive::K_GNU,
                                           /*Deterministic=*/true, /*Thin=*/false);
  if (!buffer)
    return buffer.takeError();
  return (*buffer)->getBuffer().str();
}

std::string pkgConfigText(const std::string &name) {
  return "prefix=${pcfiledir}/../..\nincludedir=${prefix}/include\nlibdir=${prefix}/lib\n\nName: " + name +
         "\nDescription: Tensor Product Attention kernels compiled by tpac\nVersion: " TPAC_VERSION
         "\nCflags: -I${includedir}\nLibs: -L${libdir} -l" +
         name + "\nLibs.private: -lm\n";
}

/// Package file of CMake. `@NAME@` stands for the pack's name.
constexpr const char *cmakeConfigTemplate =
    R"(# Imported targets of a kernel pack: @NAME@::@NAME@ (shared), @NAME@::@NAME@_static.
if(TARGET @NAME@::@NAME@)
  return()
endif()
get_filename_component(_tpac_pack "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
add_library(@NAME@::@NAME@ SHARED IMPORTED)
set_target_properties(@NAME@::@NAME@ PROPERTIES
  IMPORTED_LOCATION "${_tpac_pack}/lib/lib@NAME@.so"
  IMPORTED_SONAME "lib@NAME@.so"
  INTERFACE_INCLUDE_DIRECTORIES "${_tpac_pack}/include")
add_library(@NAME@::@NAME@_static STATIC IMPORTED)
set_target_properties(@NAME@::@NAME@_static PROPERTIES
  IMPORTED_LOCATION "${_tpac_pack}/lib/lib@NAME@.a"
  INTERFACE_INCLUDE_DIRECTORIES "${_tpac_pack}/include"
  INTERFACE_LINK_LIBRARIES m)
unset(_tpac_pack)
)";

std::string cmakeConfigText(const std::string &name) {
  constexpr llvm::StringRef placeholder = "@NAME@";
  std::string text = cmakeConfigTemplate;
  for (size_t position; (position = text.find(placeholder)) != std::string::npos;)
    text.replace(position, placeholder.size(), name);
  return text;
}

/// An error unless `directory` does not exist, is empty, or holds one pack and no file besides.
llvm::Error checkReplaceable(const fs::path &directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (status.type() == fs::file_type::not_found)
    return llvm::Error::success();
  const std::string refused = "output directory " + directory.string();
  if (status.type() != fs::file_type::directory)
    return makeError(refused + " is a file; expected a directory or a new path");

  std::vector<std::string> present;
  for (auto entry = fs::recursive_directory_iterator(directory, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error))
    if (!entry->is_directory() || entry->is_symlink())
      present.push_back(fs::relative(entry->path(), directory).generic_string());
  if (error)
    return makeError(refused + " cannot be read: " + error.message());
  if (present.empty() && fs::is_empty(directory))
    return llvm::Error::success();

  std::set<std::string> known;
  for (const std::string &path : present) {
    if (!llvm::StringRef(path).ends_with(".json") || path.find('/') != std::string::npos)
      continue;
    auto text = readFile(directory / path);
    if (!text)
      return text.takeError();
    if (auto files = manifestFiles(*text)) {
      known.insert(files->begin(), files->end());
      known.insert(path);
    }
  }
  if (known.empty())
    return makeError(refused + " exists and is not a kernel pack (no manifest of format " +
                     std::to_string(packFormatVersion) + "); expected a new or empty directory, or a pack to replace");
  for (const std::string &path : present)
    if (!known.count(path))
      return makeError(refused + " is a kernel pack, but holds '" + path +
                       "', which is not part of it; expected nothing but the pack, which is replaced as a whole");
  return llvm::Error::success();
}

/// A path beside `directory` that does not exist.
fs::path siblingOf(const fs::path &directory, const char *purpose) {
  llvm::SmallString<256> path;
  llvm::sys::fs::createUniquePath((directory.string() + "." + purpose + "-%%%%%%%%"), path, /*MakeAbsolute=*/false);
  return fs::path(std::string(path));
}

/// Removes a directory at the end of its scope, whatever happens; a path that is gone by then is no error.
struct DirectoryRemover {
  fs::path path;
  ~DirectoryRemover() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

/// Writes the pack's libraries below `root`, and files with which builds find them; adds them to `files`.
llvm::Error addLibraries(const fs::path &root, const std::string &name, const CodeTarget &target,
                         const std::string &object, std::vector<PackFile> &files) {
  auto library = archive(object, name + ".o");
  if (!library)
    return library.takeError();
  files.insert(files.end(), {{"lib/lib" + name + ".a", *library},
                             {"lib/pkgconfig/" + name + ".pc", pkgConfigText(name)},
                             {"lib/cmake/" + name + "/" + name + "Config.cmake", cmakeConfigText(name)}});
  const std::string sharedPath = "lib/lib" + name + ".so";
  fs::create_directories((root / sharedPath).parent_path());
  const fs::path objectPath = root / (name + ".o");
  if (llvm::Error error = writeFile(objectPath, object))
    return error;
  if (llvm::Error error =
          linkSharedLibrary(target, objectPath.string(), (root / sharedPath).string(), "lib" + name + ".so"))
    return error;
  std::error_code error;
  if (!fs::remove(objectPath, error))
    return makeError("cannot remove " + objectPath.string() + ": " + error.message());
  auto shared = readFile(root / sharedPath);
  if (!shared)
    return shared.takeError();
  files.push_back({sharedPath, std::move(*shared)});
  return llvm::Error::success();
}

/// Writes all files of the pack below `root`; `object` is the libraries' code, where it has any.
llvm::Error fillDirectory(const fs::path &root, const Pack &pack, llvm::ArrayRef<CodeTarget> targets,
                          const std::string &object) {
  const std::string name = symbolName(pack.name);
  auto header = headerText(pack);
  if (!header)
    return header.takeError();
  std::vector<PackFile> files = {{"include/" + name + ".h", *header}};
  if (!targets.empty())
    if (llvm::Error error = addLibraries(root, name, targets.front(), object, files))
      return error;
  if (pack.gpu)
    files.insert(files.end(), pack.gpu->files.begin(), pack.gpu->files.end());
  for (const PackFile &file : files)
    if (!llvm::StringRef(file.path).ends_with(".so"))
      if (llvm::Error error = writeFile(root / file.path, file.content))
        return error;
  auto manifest = manifestText(pack, targets, files);
  if (!manifest)
    return manifest.takeError();
  return writeFile(root / (name + ".json"), *manifest);
}

/// Moves the finished `made` to `directory`; what stood there is put back where that fails.
llvm::Error moveIntoPlace(const fs::path &made, const fs::path &directory) {
  std::error_code error;
  if (!fs::exists(directory)) {
    fs::rename(made, directory, error);
    return error ? makeError("cannot write " + directory.string() + ": " + error.message()) : llvm::Error::success();
  }
  const fs::path old = siblingOf(directory, "old");
  fs::rename(directory, old, error);
  if (error)
    return makeError("cannot replace " + directory.string() + ": " + error.message());
  fs::rename(made, directory, error);
  if (error) {
    std::error_code restored;
    fs::rename(old, directory, restored);
    return makeError("cannot write " + directory.string() + ": " + error.message() +
                     (restored ? "; the former pack is at " + old.string() : ""));
  }
  fs::remove_all(old, error);
  return error ? makeError("the new pack is in place, but the former one could not be removed from " + old.string() +
                           ": " + error.message())
               : llvm::Error::success();
}

} // namespace

llvm::Error writePack(llvm::ArrayRef<TargetModule> levels, const Pack &pack, llvm::StringRef directoryName) {
  if (directoryName.empty())
    return makeError("the output directory's name is empty");
  try {
    // Through symbolic links, and without a '/' at the end, so that siblings really stand beside the directory.
    fs::path directory = fs::weakly_canonical(fs::absolute(directoryName.str()));
    if (!directory.has_filename())
      directory = directory.parent_path();
    if (llvm::Error error = checkReplaceable(directory))
      return error;
    const Pack described = describe(pack, levels);
    if (levels.empty() && !pack.gpu)
      return makeError("a pack has no target; expected CPUs or GPUs");
    std::string object;
    if (!levels.empty()) {
      auto compiled = compile(levels, described);
      if (!compiled)
        return compiled.takeError();
      object = std::move(*compiled);
    }

    fs::create_directories(directory.parent_path());
    const fs::path made = siblingOf(directory, "new");
    DirectoryRemover remover{made};
    fs::create_directory(made);
    std::vector<CodeTarget> targets;
    for (const TargetModule &level : levels)
      targets.push_back(level.target);
    if (llvm::Error error = fillDirectory(made, described, targets, object))
      return error;
    return moveIntoPlace(made, directory);
  } catch (const fs::filesystem_error &error) {
    return makeError("cannot write " + directoryName.str() + ": " + error.what());
  }
}

} // namespace tpac
