// SPDX-License-Identifier: Apache-2.0
//
// Packs of several CPU levels: which level a CPU has, and that the right one runs.

#include "lowering/emit/PackWriter.h"
#include "lowering/phases/PhaseCall.h"
#include "tests/unit/emit/TestPack.h"

#include "llvm/Support/Program.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdlib>
#include <dlfcn.h>

#if defined(__x86_64__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace tpac::test {

namespace {

const std::vector<std::string> levelNames = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-amx"};

/// A CPU and an operating system with everything.
tpac_cpu_facts everything() { return {~0u, ~0u, ~0u, ~0u, ~0u, ~uint64_t(0)}; }

// --- Facts ---

TEST(CpuLevel, everyBitOfALevelCounts) {
  struct Bit {
    uint32_t tpac_cpu_facts::*field;
    int bit;
    int levelWithout;
  };
  constexpr int none = TPAC_CPU_LEVEL_NONE, v2 = TPAC_CPU_LEVEL_V2, v3 = TPAC_CPU_LEVEL_V3, v4 = TPAC_CPU_LEVEL_V4;
  // Numbers of bits as in Intel's manual, under CPUID.
  constexpr auto leaf1 = &tpac_cpu_facts::leaf1_ecx, leaf7b = &tpac_cpu_facts::leaf7_ebx,
                 leaf7d = &tpac_cpu_facts::leaf7_edx, leaf71 = &tpac_cpu_facts::leaf7_1_eax,
                 extended = &tpac_cpu_facts::extended1_ecx;
  const std::vector<Bit> bits = {
      {leaf1, 0, none},  {leaf1, 9, none},    {leaf1, 13, none}, {leaf1, 19, none}, {leaf1, 20, none},
      {leaf1, 23, none}, {extended, 0, none}, {leaf1, 12, v2},   {leaf1, 22, v2},   {leaf1, 27, v2},
      {leaf1, 28, v2},   {leaf1, 29, v2},     {leaf7b, 3, v2},   {leaf7b, 5, v2},   {leaf7b, 8, v2},
      {extended, 5, v2}, {leaf7b, 16, v3},    {leaf7b, 17, v3},  {leaf7b, 28, v3},  {leaf7b, 30, v3},
      {leaf7b, 31, v3},  {leaf7d, 22, v4},    {leaf7d, 23, v4},  {leaf7d, 24, v4},  {leaf71, 5, v4}};
  tpac_cpu_facts minimal = {0, 0, 0, 0, 0, 0xe0ee6};
  for (const Bit &bit : bits) {
    tpac_cpu_facts facts = everything();
    facts.*bit.field &= ~(1u << bit.bit);
    EXPECT_EQ(tpac_cpu_level_of(&facts), bit.levelWithout) << "bit " << bit.bit;
    minimal.*bit.field |= 1u << bit.bit;
  }
  // No other bit is needed.
  EXPECT_EQ(tpac_cpu_level_of(&minimal), TPAC_CPU_LEVEL_AMX);
}

TEST(CpuLevel, theOperatingSystemMustSaveTheRegisters) {
  const std::vector<std::pair<uint64_t, int>> expected = {{0x3, TPAC_CPU_LEVEL_V2},     {0x7, TPAC_CPU_LEVEL_V3},
                                                          {0x67, TPAC_CPU_LEVEL_V3},    {0xe7, TPAC_CPU_LEVEL_V4},
                                                          {0x200e7, TPAC_CPU_LEVEL_V4}, {0x600e7, TPAC_CPU_LEVEL_AMX}};
  for (const auto &[xcr0, level] : expected) {
    tpac_cpu_facts facts = everything();
    facts.xcr0 = xcr0;
    EXPECT_EQ(tpac_cpu_level_of(&facts), level) << std::hex << xcr0;
  }
}

TEST(CpuLevel, namesAreThoseOfTargets) {
  int level = TPAC_CPU_LEVEL_NONE;
  for (const std::string &name : levelNames) {
    EXPECT_EQ(tpac_cpu_level_named(name.c_str()), ++level);
    auto target = findTarget(name);
    ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
    EXPECT_EQ(target->level, level);
    EXPECT_EQ(target->amx, name == "x86-64-amx");
  }
  for (const char *other : {"", "x86-64", "x86-64-v", "x86-64-v5", "x86-64-v22", "x86-64-amx ", "X86-64-V2", "host"})
    EXPECT_EQ(tpac_cpu_level_named(other), TPAC_CPU_LEVEL_NONE) << other;
}

TEST(PackTargets, areLevelsInAscendingOrderOrOneTarget) {
  auto names = [](const std::vector<std::string> &given) {
    auto targets = findPackTargets(given);
    if (!targets)
      return llvm::toString(targets.takeError());
    std::string text;
    for (const CodeTarget &target : *targets)
      text += target.name + " ";
    return text;
  };
  EXPECT_EQ(names({"x86-64-amx", "x86-64-v2", "x86-64-v4"}), "x86-64-v2 x86-64-v4 x86-64-amx ");
  EXPECT_EQ(names({"aarch64"}), "aarch64 ");
  EXPECT_EQ(names({"x86-64-v3", "x86-64-v3"}), "target 'x86-64-v3' is given twice; expected each level once");
  for (const char *alone : {"host", "aarch64"})
    EXPECT_EQ(names({"x86-64-v3", alone}), "target '" + std::string(alone) +
                                               "' stands beside others; expected it alone, or CPU levels (x86-64-v2, "
                                               "x86-64-v3, ...) alone");
  EXPECT_NE(names({"x86-64-v3", "vax"}).find("target 'vax' is not known"), std::string::npos);
  EXPECT_NE(names({}).find("a pack has no target"), std::string::npos);
}

// --- Packs ---

#if defined(__x86_64__)

/// A decode that writes `level` to out, and with a workspace, in parts of `split` tokens, `level` + 0.5; 0: it has no
/// parts.
mlir::OwningOpRef<mlir::ModuleOp> levelModule(mlir::MLIRContext &context, int level, int64_t split) {
  const std::string memref4 = "memref<?x?x1x1xf32, strided<[?, ?, ?, ?], offset: ?>>",
                    memref3 = "memref<?x1x1xf32, strided<[?, ?, ?], offset: ?>>",
                    part3 = "memref<?x?x1xf32, strided<[?, ?, ?], offset: ?>>",
                    memref2 = "memref<?x1xf32, strided<[?, ?], offset: ?>>";
  const std::string tensors = "%out: " + memref3 + ", %lse: " + memref2,
                    parts = tensors + ", %part_out: " + memref4 + ", %part_lse: " + part3;
  auto function = [&](const std::string &name, const std::string &arguments, double value) {
    return "func.func @" + name + "(" + arguments + ") {\n  %c0 = arith.constant 0 : index\n  %x = arith.constant " +
           std::to_string(value) + " : f32\n  memref.store %x, %out[%c0, %c0, %c0] : " + memref3 + "\n  return\n}\n";
  };
  auto count = [&](const std::string &name, const std::string &arguments) {
    return "func.func @" + name + "(" + arguments +
           ") -> i64 {\n  %c1 = arith.constant 1 : i64\n  return %c1 : i64\n}\n";
  };
  std::string text = function("decode", tensors, level) + count("decode_items", tensors) +
                     function("decode_run", tensors + ", %item: i64", level);
  if (split > 0)
    text += count("decode_split_items", parts) + function("decode_split_run", parts + ", %item: i64", -1) +
            function("decode_merge_run", parts + ", %item: i64", level + 0.5);
  auto module = lowerToLlvmDialect(context, text);
  if (auto run = module->lookupSymbol("decode_split_run"))
    run->setAttr("tpac.split", mlir::IntegerAttr::get(mlir::IntegerType::get(&context, 64), split));
  return module;
}

constexpr int64_t splits[] = {0, 1000, 500, 250};

/// A pack with decode in all levels. Level i splits its cache into parts of splits[i] tokens, the lowest not at all.
class LevelPackTest : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    directory = new TemporaryDirectory;
    const Dimension tokens{"tokens", 0}, one{"", 1};
    Pack pack = testPack();
    pack.signatures = {{Phase::decode,
                        {"tokens", "batch", "capacity"},
                        {{"out", ElementType::f32, {tokens, one, one}, Access::out, ""},
                         {"lse", ElementType::f32, {tokens, one}, Access::out, ""}}}};
    signature = pack.signatures[0];
    signature.split = 1000;
    mlir::MLIRContext context;
    std::vector<mlir::OwningOpRef<mlir::ModuleOp>> modules;
    std::vector<TargetModule> levels;
    auto targets = findPackTargets(levelNames);
    ASSERT_TRUE(bool(targets)) << llvm::toString(targets.takeError());
    for (const CodeTarget &target : *targets) {
      modules.push_back(levelModule(context, target.level, splits[modules.size()]));
      levels.push_back({*modules.back(), target});
    }
    llvm::Error error = writePack(levels, pack, (directory->path() / "pack").string());
    ASSERT_FALSE(bool(error)) << llvm::toString(std::move(error));
  }
  static void TearDownTestSuite() { delete directory; }

  /// What this machine runs.
  static int highest() { return tpac_best_cpu_level(~0u, TPAC_CPU_LEVEL_AMX); }

  /// The shared library, loaded anew under TPAC_CPU_LEVEL=`level`.
  class Library {
  public:
    explicit Library(const char *level) {
      level ? setenv("TPAC_CPU_LEVEL", level, 1) : unsetenv("TPAC_CPU_LEVEL");
      handle = dlopen((directory->path() / "pack/lib/libtest_pack_1.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    ~Library() {
      dlclose(handle);
      unsetenv("TPAC_CPU_LEVEL");
    }
    template <typename T> T get(const char *name) const { return reinterpret_cast<T>(dlsym(handle, name)); }
    std::string level() const { return get<const char *(*)()>("test_pack_1_cpu_level")(); }
    int64_t workspaceSize(int64_t capacity) const {
      return get<int64_t (*)(int64_t, int64_t, int64_t)>("test_pack_1_decode_workspace_size")(1, 1, capacity);
    }
    /// Calls decode for a cache of 1500 tokens; its status.
    int32_t decode(float &out, bool hasWorkspace) const {
      float lse = 0;
      alignas(64) std::byte workspace[256];
      PhaseCall call(signature);
      call.setSize("tokens", 1);
      call.setSize("batch", 1);
      call.setSize("capacity", 1500);
      call.setTensor("out", &out);
      call.setTensor("lse", &lse);
      if (hasWorkspace)
        call.setWorkspace(workspace, sizeof(workspace));
      return call.run(get<PhaseFunction>("test_pack_1_decode"));
    }

  private:
    void *handle;
  };

  static inline TemporaryDirectory *directory = nullptr;
  static inline PhaseSignature signature;
};

TEST_F(LevelPackTest, runsTheHighestLevelUpToTheBound) {
  for (int bound = TPAC_CPU_LEVEL_V2; bound < TPAC_CPU_LEVEL_COUNT; ++bound) {
    const int expected = std::min(bound, highest());
    if (expected == TPAC_CPU_LEVEL_NONE)
      continue;
    Library library(levelNames[bound - 1].c_str());
    EXPECT_EQ(library.level(), levelNames[expected - 1]);
    float out = 0;
    EXPECT_EQ(library.decode(out, /*hasWorkspace=*/false), 0);
    EXPECT_EQ(out, static_cast<float>(expected));
    // In parts, where the level has any.
    EXPECT_EQ(library.decode(out, /*hasWorkspace=*/true), 0);
    const int64_t split = splits[expected - 1];
    EXPECT_EQ(out, static_cast<float>(expected) + (split > 0 ? 0.5f : 0.0f));
    const int64_t parts = split > 0 ? (1500 + split - 1) / split : 0;
    EXPECT_EQ(library.workspaceSize(1500), 8 * parts);
    EXPECT_EQ(library.workspaceSize(200), 0);
  }
}

TEST_F(LevelPackTest, otherValuesBoundNothing) {
  for (const char *value : {static_cast<const char *>(nullptr), "", "x86-64-v9", "host"}) {
    Library library(value);
    EXPECT_EQ(library.level(), highest() ? levelNames[highest() - 1] : "none");
  }
}

TEST_F(LevelPackTest, describesItsLevels) {
  const auto manifest = nlohmann::json::parse(readText(directory->path() / "pack/test_pack_1.json"));
  std::vector<std::string> names;
  for (const auto &target : manifest["targets"])
    names.push_back(target["name"]);
  EXPECT_EQ(names, levelNames);
  EXPECT_EQ(manifest["cpu_level_function"], "test_pack_1_cpu_level");
  const std::string header = readText(directory->path() / "pack/include/test_pack_1.h");
  EXPECT_NE(header.find("(x86-64-v2, x86-64-v3, x86-64-v4, x86-64-amx)"), std::string::npos) << header;
  EXPECT_NE(header.find("most 1000 tokens"), std::string::npos) << header;
}

TEST_F(LevelPackTest, runsWithoutAmxWhereTheKernelRefusesTiles) {
  if (highest() < TPAC_CPU_LEVEL_AMX)
    GTEST_SKIP() << "this machine has no AMX";
  // In a process of its own, which every such request then fails in.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program = {4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      _exit(2);
    Library library(nullptr);
    float out = 0;
    const bool isRight = library.level() == "x86-64-v4" && library.decode(out, false) == 0 && out == 3;
    _exit(isRight ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2)
    GTEST_SKIP() << "this system allows no seccomp filters";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

/// Real CPUID answers of other CPUs, under QEMU's user emulation.
TEST_F(LevelPackTest, fitsOtherCpus) {
  if (!llvm::sys::findProgramByName("qemu-x86_64"))
    GTEST_SKIP() << "qemu-x86_64 is not installed (package qemu-user)";
  const std::string source = (directory->path() / "use.c").string(), program = (directory->path() / "use").string();
  writeText(source,
            "#include <stdio.h>\n#include \"test_pack_1.h\"\nint main(void) {\n  float out = 0, lse = 0;\n"
            "  test_pack_1_decode_args args = {sizeof args, 1, 1, 1, {&out, 0}, {&lse, 0}, 0, 0, 0};\n"
            "  int32_t status = test_pack_1_decode(&args);\n  printf(\"%s %g %d %s\\n\", "
            "test_pack_1_cpu_level(), out,\n"
            "         (int)test_pack_1_decode_workspace_size(1, 1, 1500), test_pack_1_status_message(status));\n"
            "  return 0;\n}\n");
  const std::string pack = (directory->path() / "pack").string();
  std::string output;
  ASSERT_EQ(runCommand("clang-22 -static -I" + pack + "/include " + source + " " + pack +
                           "/lib/libtest_pack_1.a -lm -o " + program,
                       output),
            0)
      << output;
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"core2duo", "none 0 0 test_pack_1: this machine runs none of the pack's levels; expected a CPU and an operating "
                   "system with x86-64-v2 or x86-64-v3 or x86-64-v4 or x86-64-amx, and no lower level in the "
                   "environment variable TPAC_CPU_LEVEL\n"},
      {"Nehalem", "x86-64-v2 1 0 success\n"},
      {"Haswell", "x86-64-v3 2 16 success\n"}};
  for (const auto &[cpu, text] : expected) {
    ASSERT_EQ(runCommand("(qemu-x86_64 -cpu " + cpu + " " + program + " 2>/dev/null)", output), 0) << output;
    EXPECT_EQ(output, text) << cpu;
  }
}

#endif

} // namespace

} // namespace tpac::test
