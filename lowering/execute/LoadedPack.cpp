// SPDX-License-Identifier: Apache-2.0

#include "lowering/execute/LoadedPack.h"

#include "lowering/emit/Manifest.h"
#include "lowering/emit/SignatureText.h"

#include <dlfcn.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace fs = std::filesystem;

tpac::PackContent tpac::readPack(const std::string &directory) {
  std::error_code error;
  std::vector<fs::path> manifests;
  for (auto entry = fs::directory_iterator(directory, error); !error && entry != fs::directory_iterator();
       entry.increment(error))
    if (entry->path().extension() == ".json")
      manifests.push_back(entry->path());
  if (error)
    throw std::runtime_error(directory + ": " + error.message());
  if (manifests.size() != 1)
    throw std::runtime_error(directory + ": found " + std::to_string(manifests.size()) +
                             " files *.json; expected one, the manifest of a kernel pack");
  std::ifstream stream(manifests.front(), std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  auto content = readManifest(text.str());
  if (!content)
    throw std::runtime_error(manifests.front().string() + ": " + llvm::toString(content.takeError()));
  return std::move(*content);
}

struct tpac::LoadedPack::Implementation {
  Implementation(const std::string &directory) : content(readPack(directory)) {
    if (content.library.empty())
      throw std::runtime_error(directory +
                               ": found code for GPUs alone; expected a shared library, which packs with CPU "
                               "targets have");
    const std::string path = fs::absolute(fs::path(directory) / content.library).string();
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
      throw std::runtime_error("the pack's library cannot be loaded: " + std::string(dlerror()));
  }
  ~Implementation() { dlclose(library); }
  Implementation(const Implementation &) = delete;
  Implementation &operator=(const Implementation &) = delete;

  template <typename T> T get(const std::string &name) const {
    void *address = dlsym(library, name.c_str());
    if (!address)
      throw std::runtime_error(content.library + " has no function '" + name + "', which its manifest implies");
    return reinterpret_cast<T>(address);
  }

  PackContent content;
  void *library = nullptr;
};

namespace tpac {

LoadedPack::LoadedPack(std::unique_ptr<Implementation> implementation) : implementation(std::move(implementation)) {}

LoadedPack::~LoadedPack() = default;

std::unique_ptr<LoadedPack> LoadedPack::open(const std::string &directory) {
  std::unique_ptr<LoadedPack> pack(new LoadedPack(std::make_unique<Implementation>(directory)));
  for (const PhaseSignature &signature : pack->signatures())
    pack->function(signature.phase);
  pack->statusMessage(0);
  if (pack->cpuLevel() == "none")
    throw std::runtime_error(directory + ": this machine runs none of the pack's CPU levels");
  return pack;
}

const std::string &LoadedPack::name() const { return implementation->content.name; }

const std::string &LoadedPack::variantJson() const { return implementation->content.variantJson; }

const std::vector<std::string> &LoadedPack::targets() const { return implementation->content.targets; }

std::string LoadedPack::cpuLevel() const { return implementation->get<const char *(*)()>(cpuLevelName(name()))(); }

const std::vector<PhaseSignature> &LoadedPack::signatures() const { return implementation->content.signatures; }

PhaseFunction LoadedPack::function(Phase phase) const {
  return implementation->get<PhaseFunction>(functionName(name(), phase));
}

std::string LoadedPack::statusMessage(int32_t status) const {
  return implementation->get<const char *(*)(int32_t)>(statusMessageName(name()))(status);
}

} // namespace tpac
