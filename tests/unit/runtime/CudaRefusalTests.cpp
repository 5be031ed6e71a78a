// SPDX-License-Identifier: Apache-2.0
//
// Kernels for GPUs: which image is chosen, what is refused, and what becomes of the driver's errors.

#include "runtime/cuda/DeviceCode.h"
#include "tests/unit/runtime/CudaFixture.h"

#include <functional>

namespace fs = std::filesystem;
using namespace tpac::test;
using namespace tpac::runtime;

TEST_F(RuntimeCuda, refusesWhatKernelsCannotRead) {
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  const int64_t far[] = {48, int64_t(1) << 31, 1}, negative[] = {48, -16, 1}, row[] = {16, 1}, two[] = {2};
  const std::pair<std::function<void(DecodeArguments &)>, const char *> cases[] = {
      {[](auto &a) { a.structSize = 16; },
       "args.struct_size is 16; expected the size of the block of phase decode, at least 208"},
      {[](auto &a) { a.tokens = -1; }, "args.tokens is -1; expected 0 .. 2147483647"},
      {[](auto &a) { a.batch = int64_t(1) << 31; }, "args.batch is 2147483648; expected 0 .. 2147483647"},
      {[](auto &a) { a.capacity = 100; },
       "args.capacity is 100; expected a multiple of 128, as kernels for GPUs need it"},
      {[](auto &a) { a.out.data = 0; },
       "args.out.data is NULL; expected an address on the device for bf16 [tokens, 3, 16]"},
      {[](auto &a) { a.lse.data = 0x902; },
       "args.lse.data is no multiple of 4; expected an address aligned to so many bytes for f32 [tokens, 3]"},
      {[&](auto &a) { a.qToken.strides = negative; },
       "args.q_token.strides holds -16 for dimension 1; expected 0 or more for each dimension, or NULL, for bf16 "
       "[tokens, 2, 16]"},
      {[&](auto &a) { a.out.strides = far; }, "args.out.strides holds 2147483648 for dimension 1; expected elements of "
                                              "one token less than 2^31 apart for bf16 "
                                              "[tokens, 3, 16]"},
      {[&](auto &a) { a.lengths.strides = two; }, "args.lengths.strides holds 2; expected 1, or NULL, for i32 [batch]"},
      {[](auto &a) { a.kHeadCache.data = 0x7008; }, "args.k_head_cache.data is no multiple of 16"},
      {[](auto &a) { a.vTokenCache.data = 0x8000; },
       "args.v_token_cache.data differs from that of k_head_cache; expected the address of the one cache"},
      {[&](auto &a) { a.kTokenCache.strides = row; },
       "args.k_token_cache.strides is given; expected NULL, since caches on GPUs have a layout of their own"},
      {[](auto &a) { a.workspace = 0; }, "args.workspace is NULL; expected "},
      {[](auto &a) { a.structSize -= 16; }, "args.workspace is NULL; expected "},
      {[](auto &a) { a.workspace += 32; }, "args.workspace is no multiple of 64"},
      {[](auto &a) { a.workspaceSize = 100; }, "args.workspace_size is 100; expected at least "},
  };
  for (const auto &[change, expected] : cases) {
    DecodeArguments args = decodeArguments(2, 2);
    change(args);
    EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT) << expected;
    EXPECT_EQ(message(TPAC_INVALID_ARGUMENT).find(std::string("tpac_kernels_launch: ") + expected), 0u)
        << message(TPAC_INVALID_ARGUMENT);
  }
  EXPECT_TRUE(launches.empty());
  const DecodeArguments args = decodeArguments(2, 2);
  EXPECT_EQ(tpac_kernels_launch(kernels.handle, 6, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_launch(nullptr, TPAC_DECODE, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_launch(kernels.handle, TPAC_DECODE, nullptr, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(tpac_kernels_cache_layout(kernels.handle, nullptr), TPAC_INVALID_ARGUMENT);

  Kernels cpu;
  ASSERT_EQ(create(&cpu.handle, "pack", TPAC_CPU), TPAC_SUCCESS);
  EXPECT_EQ(tpac_kernels_launch(cpu.handle, TPAC_IMPORT, &args, nullptr), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT), "tpac_kernels_launch: the pack has no phase import for CPUs");
  EXPECT_EQ(tpac_kernels_launch(cpu.handle, TPAC_DECODE, &args, &cpu), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_launch: stream is given; expected NULL on a CPU, which has no streams");
  EXPECT_EQ(create(&cpu.handle, "paged", TPAC_CPU), TPAC_INVALID_ARGUMENT);
  EXPECT_EQ(message(TPAC_INVALID_ARGUMENT),
            "tpac_kernels_create: the pack has no kernels for CPUs; it is for GPUs alone");
}

TEST_F(RuntimeCuda, choosesImagesByCapability) {
  auto chosen = [&](int capability, int sharedBytes) {
    fake->capability = capability;
    fake->sharedBytes = sharedBytes;
    Kernels kernels;
    const int32_t status = create(&kernels.handle);
    return status == TPAC_SUCCESS ? tpac_kernels_target(kernels.handle) : message(status);
  };
  EXPECT_EQ(chosen(90, 227 * 1024), "sm_90a (PTX)");
  EXPECT_NE(std::string(fake->image).find(".target sm_90a"), std::string::npos) << fake->image;
  // Later and earlier GPUs, also those with little shared memory, compile the PTX that stands for all.
  for (int capability : {80, 86, 89, 100, 120}) {
    EXPECT_EQ(chosen(capability, 99 * 1024), "sm_80 (PTX)") << capability;
  }
  EXPECT_EQ(chosen(75, 64 * 1024),
            "tpac_kernels_create: Fake GPU 0, compute capability 7.5, runs none of the pack's images; "
            "gpu/gpu_test.sm_90a.ptx (sm_90a) is for that architecture alone; gpu/gpu_test.ptx (sm_80) is for newer "
            "GPUs");
}

TEST(DeviceCode, prefersWhatIsClosest) {
  GpuPart part;
  auto add = [&](const char *target, bool isCubin, int64_t sharedBytes) {
    GpuKernel kernel = {"decode_parts", Grid::parts, 128, sharedBytes, false, {}};
    GpuPhase phase;
    phase.kernels.push_back(kernel);
    part.images.push_back({target, isCubin, std::string(target) + (isCubin ? ".cubin" : ".ptx"), {phase}});
  };
  add("sm_80", true, 160 << 10);
  add("sm_80", false, 90 << 10);
  add("sm_86", true, 90 << 10);
  add("sm_90a", true, 200 << 10);
  add("sm_120a", false, 90 << 10);
  auto chosen = [&](int capability, int64_t sharedKib) {
    return cuda::chooseImage(part, {"GPU", capability, 100, sharedKib << 10}).image->file;
  };
  EXPECT_EQ(chosen(80, 163), "sm_80.cubin");
  EXPECT_EQ(chosen(86, 99), "sm_86.cubin");
  EXPECT_EQ(chosen(87, 163), "sm_86.cubin");
  EXPECT_EQ(chosen(89, 99), "sm_86.cubin");
  EXPECT_EQ(chosen(90, 227), "sm_90a.cubin");
  EXPECT_EQ(chosen(100, 227), "sm_80.ptx");
  EXPECT_EQ(chosen(103, 227), "sm_80.ptx");
  EXPECT_EQ(chosen(120, 99), "sm_120a.ptx");
  EXPECT_EQ(chosen(121, 99), "sm_80.ptx");
  const std::string reason = cuda::chooseImage(part, {"GPU", 100, 100, 227 << 10}).reason;
  EXPECT_EQ(reason.find("PTX, which the driver compiles"), 0u) << reason;
  EXPECT_NE(reason.find("sm_90a.cubin (sm_90a) is for that architecture alone"), std::string::npos) << reason;
  EXPECT_THROW(chosen(80, 48), std::runtime_error);
}

TEST_F(RuntimeCuda, reportsEachFailureOfTheDriver) {
  auto expectFailure = [&](int32_t status, const std::string &call) {
    EXPECT_EQ(status, TPAC_DEVICE_ERROR) << call;
    const std::string text = message(TPAC_DEVICE_ERROR);
    EXPECT_NE(text.find(call), std::string::npos) << text;
    EXPECT_NE(text.find("failed: as the test wants it (999)"), std::string::npos) << text;
  };
  for (const char *call : {"cuDeviceGetCount", "cuDeviceGet", "cuCtxGetCurrent", "cuDevicePrimaryCtxRetain",
                           "cuDeviceGetName", "cuDeviceGetAttribute", "cuCtxPushCurrent", "cuModuleLoadDataEx",
                           "cuModuleGetFunction", "cuFuncSetAttribute"}) {
    fake->failingCall = call;
    tpac_kernels *kernels = nullptr;
    expectFailure(create(&kernels), call);
    EXPECT_EQ(kernels, nullptr);
    if (std::string(call) == "cuModuleLoadDataEx")
      EXPECT_NE(message(TPAC_DEVICE_ERROR).find("gpu/gpu_test.sm_90a.ptx"), std::string::npos);
    if (std::string(call) == "cuModuleLoadDataEx")
      EXPECT_NE(message(TPAC_DEVICE_ERROR).find("line 1: no such thing"), std::string::npos);
    // Nothing stays behind, even where contexts cannot be entered.
    fake->failingCall = nullptr;
    EXPECT_EQ(fake->modules, 0) << call;
    EXPECT_EQ(fake->retained, 0) << call;
    EXPECT_EQ(fake->pushed, 0) << call;
  }
  setCurrent(0);
  fake->failingCall = "cuCtxGetDevice";
  tpac_kernels *refused = nullptr;
  expectFailure(create(&refused), "cuCtxGetDevice");
  setCurrent(-1);
  fake->failingCall = nullptr;
  Kernels kernels;
  ASSERT_EQ(create(&kernels.handle), TPAC_SUCCESS);
  const DecodeArguments args = decodeArguments(1, 1);
  for (const char *call : {"cuCtxGetCurrent", "cuCtxPushCurrent", "cuLaunchKernelEx"}) {
    fake->failingCall = call;
    expectFailure(tpac_kernels_launch(kernels.handle, TPAC_DECODE, &args, nullptr), call);
  }
  EXPECT_NE(message(TPAC_DEVICE_ERROR).find("decode_parts"), std::string::npos) << message(TPAC_DEVICE_ERROR);
  fake->failingCall = nullptr;
}

TEST_F(RuntimeCuda, refusesManifestsThatNoKernelFits) {
  const std::string manifest = textOf("paged/gpu_test.json");
  runCommand("cp -r " + path("paged") + " " + path("edited"));
  const std::tuple<const char *, const char *, const char *> cases[] = {
      {"\"grid\": \"tokens\"", "\"grid\": \"all\"", "grid is all; expected one of parts, rows, tokens"},
      {"\"threads\": 128", "\"threads\": 0", "threads is 0; expected 1 .. 1024"},
      {"\"warps_of_row\"", "\"warp\"", "parameters[] is warp; expected one of cache, workspace"},
      {"\"kind\": \"ptx\"", "\"kind\": \"sass\"", "kind is sass; expected one of cubin, ptx"},
      {"\"target\": \"sm_90a\",\n        \"kind\"", "\"target\": \"gfx90a\",\n        \"kind\"",
       "target is gfx90a; expected a name as sm_80 or sm_90a"},
      {"\"file\": \"gpu/", "\"file\": \"cpu/", "expected one of files"},
      {"\"record_bytes\"", "\"record\"", "record_bytes is missing"},
      {"\"moves\"", "\"movers\"", "gpu.moves is missing"},
      {"\"row_bytes\": 128", "\"row_bytes\": \"128\"", "gpu.cache.row_bytes is \"128\", which is of the wrong type"},
  };
  for (const auto &[from, to, expected] : cases) {
    std::string text = manifest;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, std::strlen(from), to);
    folder->write("edited/gpu_test.json", text);
    tpac_pack *pack = nullptr;
    EXPECT_EQ(tpac_pack_open(path("edited").c_str(), &pack), TPAC_INVALID_ARGUMENT) << expected;
    EXPECT_NE(message(TPAC_INVALID_ARGUMENT).find(expected), std::string::npos) << message(TPAC_INVALID_ARGUMENT);
  }
}

TEST_F(RuntimeCuda, findsTheDriverWhereTheSystemHasIt) {
  const std::string fakes = fs::path(TPAC_FAKE_CUDA).parent_path().string();
  auto run = [&](const std::string &environment) {
    const auto ended = runCommand(environment + " " TPAC_OPEN_PACK " " + path("pack"));
    EXPECT_EQ(ended.status, 0) << ended.output;
    return ended.output;
  };
  auto has = [](const std::string &output, const std::string &text) {
    EXPECT_NE(output.find(text), std::string::npos) << output << "\nexpected: " << text;
  };
  const std::string found = run("TPA_VERBOSE=other,dispatch LD_LIBRARY_PATH=" + fakes);
  has(found, "status 0: sm_90a (PTX)");
  has(found, "tpac: dispatch: gpu_test on the CPU: host, the best of host that CPU and system allow\n");
  has(found, "tpac: dispatch: gpu_test merge (host): tokens 0; the calling thread\n");
  has(found, "tpac: dispatch: gpu_test on Fake GPU 0, compute capability 9.0: gpu/gpu_test.sm_90a.ptx (sm_90a): made "
             "for this very architecture\n");
  has(found, "tpac: dispatch: gpu_test decode (sm_90a (PTX)): tokens 4 batch 2 capacity 4096; decode_parts_q2 in 132 "
             "thread blocks, decode_merge_q2 in 18 thread blocks; for up to 2 query tokens per request, 2 at a time\n");
  EXPECT_EQ(run("LD_LIBRARY_PATH=" + fakes).find("dispatch:"), std::string::npos);
  has(run("FAKE_CUDA_FAILURE=cuInit LD_LIBRARY_PATH=" + fakes),
      "status 5: tpac_kernels_create: cuInit failed: as the test wants it (999)");
  fs::create_directory(path("empty"));
  ASSERT_EQ(runCommand("cc -shared -fPIC -x c /dev/null -o " + path("empty/libcuda.so.1")).status, 0);
  has(run("LD_LIBRARY_PATH=" + path("empty")),
      "status 5: tpac_kernels_create: libcuda.so.1 has no cuInit; expected a driver of CUDA 12 or later");
  // A machine with a driver has it here too.
  if (const std::string absent = run("LD_LIBRARY_PATH=");
      absent.find("status 0: sm") == std::string::npos &&
      absent.find("status 5: tpac_kernels_create: cu") == std::string::npos)
    has(absent, "status 5: tpac_kernels_create: NVIDIA's driver cannot be loaded: libcuda.so.1: ");
}
