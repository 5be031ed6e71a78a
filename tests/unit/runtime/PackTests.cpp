// SPDX-License-Identifier: Apache-2.0
//
// Packs opened at run time: from a directory, a file and memory, what is refused, and that their kernels compute.

#include "tests/unit/runtime/TestFiles.h"
#include "tpac/pack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

namespace fs = std::filesystem;
using namespace tpac::test;

namespace {

constexpr int64_t heads = 2, features = 16;

const char *variant = R"({
  "tpac_variant": 1, "name": "runtime-test", "heads": 2,
  "q": {"dense": 16},
  "k": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "v": {"rank": 1, "head": {"source": "contextual"}, "token": [{"source": "contextual", "size": 16}]},
  "types": {"activation": "f32", "head": "f32", "token": "f32", "output": "f32"}
})";

/// A pack, built once for all tests of the suite.
class RuntimePack : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    folder = new TemporaryFolder;
    folder->write("variant.json", variant);
    const std::string root = folder->path().string();
    const auto built = runCommand(TPAC_TOOL " build " + root + "/variant.json --target host -o " + root + "/pack");
    ASSERT_EQ(built.status, 0) << built.output;
    const auto packed = runCommand("tar -cf " + root + "/pack.tar -C " + root + "/pack . && tar -cf " + root +
                                   "/below.tar -C " + root + " pack");
    ASSERT_EQ(packed.status, 0) << packed.output;
  }
  static void TearDownTestSuite() { delete folder; }

  static std::string path(const std::string &name) { return (folder->path() / name).string(); }
  static std::string bytesOf(const std::string &name) {
    std::ifstream stream(path(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }
  /// The message with which a pack is refused; "" where it is not.
  static std::string refusal(const std::string &name) {
    tpac_pack *pack = nullptr;
    const int32_t status = tpac_pack_open(path(name).c_str(), &pack);
    tpac_pack_close(pack);
    EXPECT_EQ(pack == nullptr, status != TPAC_SUCCESS);
    return status == TPAC_SUCCESS ? "" : tpac_runtime_status_message(status);
  }

  static inline TemporaryFolder *folder = nullptr;
};

struct Tensor {
  const void *data;
  const int64_t *strides = nullptr;
};

/// The argument block of merge, as the pack's header declares it.
struct MergeArguments {
  int64_t structSize, tokens;
  Tensor out0, lse0, out1, lse1, out, lse;
  const void *executor;
};

const tpac_kernels_config cpu = {sizeof(cpu), TPAC_CPU, 0, 0};

/// Merges two states with the kernels of `pack` and compares with the definition; closes the pack before the call.
std::vector<float> merge(tpac_pack *pack) {
  tpac_kernels *kernels = nullptr;
  EXPECT_EQ(tpac_kernels_create(pack, &cpu, &kernels), TPAC_SUCCESS) << tpac_runtime_status_message(1);
  tpac_pack_close(pack);
  EXPECT_STREQ(tpac_kernels_target(kernels), "host");

  constexpr int64_t tokens = 3;
  std::vector<float> out0(tokens * heads * features), out1(out0.size()), out(out0.size(), NAN);
  std::vector<float> lse0(tokens * heads), lse1(lse0.size()), lse(lse0.size(), NAN);
  for (size_t i = 0; i < out0.size(); ++i) {
    out0[i] = std::sin(static_cast<float>(i));
    out1[i] = std::cos(static_cast<float>(3 * i));
  }
  for (size_t i = 0; i < lse0.size(); ++i) {
    lse0[i] = static_cast<float>(i) - 2;
    lse1[i] = i == 0 ? -INFINITY : 1;
  }
  const MergeArguments args = {sizeof(args),  tokens,       {out0.data()}, {lse0.data()}, {out1.data()},
                               {lse1.data()}, {out.data()}, {lse.data()},  nullptr};
  EXPECT_EQ(tpac_kernels_run(kernels, TPAC_MERGE, &args), TPAC_SUCCESS);
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t row = i / features;
    const double a = std::exp(double{lse0[row]}), b = std::exp(double{lse1[row]});
    EXPECT_NEAR(out[i], (a * out0[i] + b * out1[i]) / (a + b), 1e-6) << i;
    EXPECT_NEAR(lse[row], std::log(a + b), 1e-6) << row;
  }

  MergeArguments wrong = args;
  wrong.out1.data = nullptr;
  EXPECT_EQ(tpac_kernels_run(kernels, TPAC_MERGE, &wrong), TPAC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(tpac_runtime_status_message(TPAC_INVALID_ARGUMENT)).find("out1"), std::string::npos)
      << tpac_runtime_status_message(TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_run(kernels, TPAC_DECODE, &args), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(tpac_runtime_status_message(TPAC_INVALID_ARGUMENT))
                .find("tpac_kernels_run: args.struct_size is 120; expected the size of the block of phase decode"),
            0u)
      << tpac_runtime_status_message(TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_run(kernels, 6, &args), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_run(nullptr, TPAC_MERGE, &args), TPAC_INVALID_ARGUMENT);

  int64_t bytes = -1;
  EXPECT_EQ(tpac_kernels_workspace_size(kernels, TPAC_DECODE, 1, 1, 1 << 20, &bytes), TPAC_SUCCESS);
  EXPECT_GT(bytes, 0);
  EXPECT_EQ(tpac_kernels_workspace_size(kernels, TPAC_MERGE, 1, 1, 1 << 20, &bytes), TPAC_SUCCESS);
  EXPECT_EQ(bytes, 0);
  tpac_kernels_destroy(kernels);
  return out;
}

} // namespace

TEST_F(RuntimePack, computesWhereverItIs) {
  std::vector<std::vector<float>> results;
  for (const char *name : {"pack", "pack.tar", "below.tar"}) {
    tpac_pack *pack = nullptr;
    ASSERT_EQ(tpac_pack_open(path(name).c_str(), &pack), TPAC_SUCCESS) << tpac_runtime_status_message(1);
    EXPECT_STREQ(tpac_pack_name(pack), "runtime_test");
    EXPECT_EQ(tpac_pack_manifest(pack), bytesOf("pack/runtime_test.json"));
    results.push_back(merge(pack));
  }
  const std::string bytes = bytesOf("pack.tar");
  tpac_pack *pack = nullptr;
  ASSERT_EQ(tpac_pack_open_memory(bytes.data(), static_cast<int64_t>(bytes.size()), &pack), TPAC_SUCCESS);
  results.push_back(merge(pack));
  for (const std::vector<float> &result : results)
    EXPECT_EQ(result, results.front());
}

TEST_F(RuntimePack, readsPaxHeaders) {
  // Of times, which are ignored, and of a path that is too long for the header of the file itself.
  const std::string root = path(""), folders(120, 'd');
  const auto made = runCommand("mkdir -p " + root + "long/" + folders + " && cp -r " + root + "pack/. " + root +
                               "long/" + folders + " && tar --format=pax -cf " + root + "pax.tar -C " + root +
                               "pack . && tar --format=pax -cf " + root + "long.tar -C " + root + "long " + folders);
  ASSERT_EQ(made.status, 0) << made.output;
  for (const char *name : {"pax.tar", "long.tar"}) {
    const std::string bytes = bytesOf(name);
    ASSERT_NE(bytes.find(name == std::string("pax.tar") ? "mtime=" : "path=ddd"), std::string::npos) << name;
    tpac_pack *pack = nullptr;
    ASSERT_EQ(tpac_pack_open(path(name).c_str(), &pack), TPAC_SUCCESS) << tpac_runtime_status_message(1);
    merge(pack);
  }
  std::string damaged = bytesOf("pax.tar");
  damaged[damaged.find(" mtime=")] = 'x';
  folder->write("damaged.tar", damaged);
  EXPECT_NE(refusal("damaged.tar").find("a pax header holds no records 'LENGTH KEY=VALUE'"), std::string::npos)
      << refusal("damaged.tar");
}

TEST_F(RuntimePack, refusesWhatIsNoPack) {
  folder->write("empty/readme.txt", "");
  folder->write("two/a.json", "{}");
  folder->write("two/b.json", "{}");
  folder->write("text.tar", std::string(2000, 'x'));
  folder->write("short.tar", "x");
  EXPECT_EQ(refusal("absent"), "tpac_pack_open: " + path("absent") + ": no such file or directory");
  EXPECT_EQ(refusal("empty"), "tpac_pack_open: " + path("empty") +
                                  ": found 0 files *.json at the top; expected one, the manifest of a kernel pack");
  EXPECT_NE(refusal("two").find("found 2 files"), std::string::npos);
  EXPECT_NE(refusal("text.tar").find("neither a directory nor a tar archive"), std::string::npos);
  EXPECT_NE(refusal("short.tar").find("found a file of 1 bytes"), std::string::npos);
  EXPECT_EQ(tpac_pack_open(nullptr, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_create(nullptr, &cpu, nullptr), TPAC_INVALID_ARGUMENT);
}

TEST_F(RuntimePack, refusesDamagedPacks) {
  const std::string manifest = bytesOf("pack/runtime_test.json"), library = bytesOf("pack/lib/libruntime_test.so");
  folder->write("cut/runtime_test.json", manifest);
  EXPECT_NE(refusal("cut").find("file include/runtime_test.h: "), std::string::npos);
  runCommand("cp -r " + path("pack") + " " + path("short"));
  folder->write("short/lib/libruntime_test.so", library.substr(1));
  EXPECT_NE(refusal("short").find("file lib/libruntime_test.so has " + std::to_string(library.size() - 1) +
                                  " bytes; the manifest says " + std::to_string(library.size())),
            std::string::npos)
      << refusal("short");
  auto edited = [&](const std::string &from, const std::string &to) {
    std::string text = manifest;
    text.replace(text.find(from), from.size(), to);
    folder->write("edited/runtime_test.json", text);
    return refusal("edited");
  };
  EXPECT_NE(edited("\"tpac_pack\": 1", "\"tpac_pack\": 2").find("tpac_pack is 2; this library reads format 1"),
            std::string::npos);
  EXPECT_NE(edited("\"phases\"", "\"stages\"").find("manifest: phases is missing"), std::string::npos);
  EXPECT_NE(edited("{", "").find("not JSON"), std::string::npos);

  // Every cut of an archive is refused, at the latest for what is missing.
  const std::string bytes = bytesOf("pack.tar");
  for (size_t size = 0; size < bytes.size() - 10240; size += 509) {
    tpac_pack *pack = nullptr;
    EXPECT_EQ(tpac_pack_open_memory(bytes.data(), static_cast<int64_t>(size), &pack), TPAC_INVALID_ARGUMENT) << size;
    ASSERT_EQ(pack, nullptr);
  }
  std::string damaged = bytes;
  damaged[0] ^= 1;
  tpac_pack *pack = nullptr;
  EXPECT_EQ(tpac_pack_open_memory(damaged.data(), static_cast<int64_t>(damaged.size()), &pack), TPAC_INVALID_ARGUMENT);
  EXPECT_NE(std::string(tpac_runtime_status_message(TPAC_INVALID_ARGUMENT)).find("checksum"), std::string::npos);
}

TEST_F(RuntimePack, refusesDevicesItDoesNotKnow) {
  tpac_pack *pack = nullptr;
  ASSERT_EQ(tpac_pack_open(path("pack").c_str(), &pack), TPAC_SUCCESS);
  tpac_kernels *kernels = nullptr;
  const tpac_kernels_config other = {sizeof(other), 77, 0, 0}, second = {sizeof(second), TPAC_CPU, 1, 0};
  EXPECT_EQ(tpac_kernels_create(pack, &other, &kernels), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(tpac_runtime_status_message(TPAC_INVALID_ARGUMENT)),
            "tpac_kernels_create: config.device_type is 77; expected TPAC_CPU, which is 1, or TPAC_CUDA, which is 2");
  EXPECT_EQ(tpac_kernels_create(pack, &second, &kernels), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_create(pack, nullptr, &kernels), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(kernels, nullptr);
  tpac_pack_close(pack);
}
