// SPDX-License-Identifier: Apache-2.0
//
// Kernels for GPUs without a GPU: a pack, and a driver that records launches.

#ifndef TPAC_TESTS_UNIT_RUNTIME_CUDAFIXTURE_H
#define TPAC_TESTS_UNIT_RUNTIME_CUDAFIXTURE_H

#include "runtime/cuda/Driver.h"
#include "tests/cuda/FakeCuda.h"
#include "tests/unit/runtime/CudaArguments.h"
#include "tests/unit/runtime/TestFiles.h"
#include "tpac/pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <iterator>

namespace tpac::test {

namespace cuda = tpac::runtime::cuda;

inline const char *const variant = R"({
  "tpac_variant": 1, "name": "gpu-test", "heads": 3,
  "q": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "k": {"rank": 2, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "v": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "rope": {"d_rot": 16},
  "types": {"activation": "bf16", "head": "bf16", "token": "bf16", "output": "bf16"}
})";

struct Launch {
  std::string kernel;
  unsigned blocks, threads, sharedBytes;
  void *stream;
  bool overlaps;
  std::vector<uint64_t> parameters;
};

inline std::vector<Launch> launches;
/// Parameters that kernels take, by the names that they begin with.
inline size_t parametersOf(const std::string &kernel) {
  const std::pair<const char *, size_t> counts[] = {
      {"append", 4 * 4 + 3 + 1 + 2}, {"merge", 4 + 3 + 4 + 3 + 4 + 3 + 1}, {"import", 4 * 5 + 1 + 1 + 3},
      {"export", 4 * 5 + 1 + 1 + 3}, {"decode", 2 * 4 + 3 + 4 + 3 + 6},    {"prefill", 2 * 4 + 3 + 4 + 3 + 6}};
  for (const auto &[name, count] : counts)
    if (kernel.starts_with(name))
      return count;
  ADD_FAILURE() << kernel;
  return 0;
}
inline size_t tableParameters = 0;

inline void record(const char *kernel, const cuda::LaunchConfiguration &configuration, void **parameters) {
  Launch launch = {kernel,
                   configuration.grid[0],
                   configuration.block[0],
                   configuration.sharedBytes,
                   configuration.stream,
                   configuration.attributeCount == 1 &&
                       configuration.attributes->id == cuda::programmaticStreamSerialization &&
                       configuration.attributes->value.number == 1,
                   {}};
  EXPECT_EQ(configuration.grid[1] * configuration.grid[2] * configuration.block[1] * configuration.block[2], 1u);
  for (size_t i = 0; i < parametersOf(kernel) + tableParameters; ++i) {
    uint64_t value;
    std::memcpy(&value, parameters[i], sizeof(value));
    launch.parameters.push_back(value);
  }
  launches.push_back(std::move(launch));
}

inline std::string message(int32_t status) { return tpac_runtime_status_message(status); }

/// A pack, built once for all tests of the suite, and the fake driver, which the library finds by its name because it
/// is loaded already.
class RuntimeCuda : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    folder = new TemporaryFolder;
    folder->write("variant.json", variant);
    const std::string root = folder->path().string(),
                      build = "TPAC_PTXAS= " TPAC_TOOL " build " + root + "/variant.json";
    for (const std::string &rest : {" --target host --target sm_90a -o " + root + "/pack",
                                    " --target sm_90a --page-size 16 -o " + root + "/paged"}) {
      const auto built = runCommand(build + rest);
      ASSERT_EQ(built.status, 0) << built.output;
    }
    void *library = dlopen(TPAC_FAKE_CUDA, RTLD_NOW | RTLD_GLOBAL);
    ASSERT_NE(library, nullptr) << dlerror();
    fake = reinterpret_cast<decltype(&fake_cuda)>(dlsym(library, "fake_cuda"))();
    setCurrent = reinterpret_cast<decltype(&fake_cuda_set_current)>(dlsym(library, "fake_cuda_set_current"));
  }
  static void TearDownTestSuite() { delete folder; }

  void SetUp() override {
    *fake = FakeCuda();
    fake->launched = record;
    setCurrent(-1);
    launches.clear();
    tableParameters = 0;
  }
  void TearDown() override {
    EXPECT_EQ(fake->modules, 0);
    EXPECT_EQ(fake->retained, 0);
    EXPECT_EQ(fake->pushed, 0);
  }

  static std::string path(const std::string &name) { return (folder->path() / name).string(); }
  static std::string textOf(const std::string &name) {
    std::ifstream stream(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }

  static int32_t create(tpac_kernels **kernels, const char *name = "pack", int32_t type = TPAC_CUDA, int32_t device = 0,
                        int64_t partTokens = 0) {
    tpac_pack *pack = nullptr;
    EXPECT_EQ(tpac_pack_open(path(name).c_str(), &pack), TPAC_SUCCESS) << message(TPAC_INVALID_ARGUMENT);
    const tpac_kernels_config config = {sizeof(config), type, device, partTokens};
    const int32_t status = tpac_kernels_create(pack, &config, kernels);
    // What was made from it goes on.
    tpac_pack_close(pack);
    return status;
  }

  static inline TemporaryFolder *folder = nullptr;
  static inline FakeCuda *fake = nullptr;
  static inline decltype(&fake_cuda_set_current) setCurrent = nullptr;
};

/// Kernels that end with the scope.
struct Kernels {
  ~Kernels() { tpac_kernels_destroy(handle); }
  tpac_kernels *handle = nullptr;
};

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_RUNTIME_CUDAFIXTURE_H
