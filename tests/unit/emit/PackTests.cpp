// SPDX-License-Identifier: Apache-2.0
//
// The files of a pack: header, libraries, manifest, packages for CMake and pkg-config, and when a directory is refused.

#include "lowering/emit/CInterface.h"
#include "lowering/emit/Header.h"
#include "lowering/emit/Manifest.h"
#include "lowering/emit/ObjectFile.h"
#include "lowering/emit/PackWriter.h"
#include "lowering/emit/SignatureText.h"
#include "tests/unit/emit/TestPack.h"
#include "tpac/Version.h"

#include "llvm/Object/Archive.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/Program.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace fs = std::filesystem;

namespace tpac::test {

namespace {

/// The message of `error`, "" for success.
std::string text(llvm::Error error) { return error ? llvm::toString(std::move(error)) : ""; }

const std::set<std::string> abi = {"test_pack_1_append", "test_pack_1_cpu_level", "test_pack_1_merge",
                                   "test_pack_1_status_message"};

class PackTest : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    directory = new TemporaryDirectory;
    pack = directory->path() / "pack";
    ASSERT_EQ(write(pack), "");
  }
  static void TearDownTestSuite() { delete directory; }

  static std::string write(const fs::path &path, const std::string &target = "host", const Pack &what = testPack()) {
    mlir::MLIRContext context;
    auto module = testModule(context);
    return writePackFor(*module, what, {target}, path);
  }

  /// Files and folders in `path`, sorted.
  static std::vector<std::string> list(const fs::path &path) {
    std::vector<std::string> names;
    for (const auto &entry : fs::recursive_directory_iterator(path))
      if (!entry.is_directory())
        names.push_back(fs::relative(entry.path(), path).generic_string());
    std::sort(names.begin(), names.end());
    return names;
  }

  static inline TemporaryDirectory *directory = nullptr;
  static inline fs::path pack;
};

std::set<std::string> definedNames(llvm::iterator_range<llvm::object::elf_symbol_iterator> symbols) {
  std::set<std::string> names;
  for (const llvm::object::ELFSymbolRef &symbol : symbols) {
    const uint32_t flags = llvm::cantFail(symbol.getFlags());
    if ((flags & llvm::object::SymbolRef::SF_Global) && !(flags & llvm::object::SymbolRef::SF_Undefined))
      names.insert(llvm::cantFail(symbol.getName()).str());
  }
  return names;
}

} // namespace

TEST_F(PackTest, holdsExactlyItsFiles) {
  EXPECT_EQ(list(pack),
            (std::vector<std::string>{"include/test_pack_1.h", "lib/cmake/test_pack_1/test_pack_1Config.cmake",
                                      "lib/libtest_pack_1.a", "lib/libtest_pack_1.so", "lib/pkgconfig/test_pack_1.pc",
                                      "test_pack_1.json"}));
  // Nothing is left beside the pack.
  EXPECT_EQ(std::distance(fs::directory_iterator(directory->path()), fs::directory_iterator()), 1);
}

TEST_F(PackTest, headerCompilesInEveryLanguageItNames) {
  const fs::path source = directory->path() / "use.c";
  const fs::path other = directory->path() / "other.h";
  Pack second = testPack();
  second.name = "second";
  auto secondHeader = headerText(second);
  ASSERT_TRUE(bool(secondHeader));
  writeText(other, *secondHeader);
  writeText(source, "#include \"test_pack_1.h\"\n#include \"other.h\"\n#include \"test_pack_1.h\"\n"
                    "int use(void);\nint use(void) {\n  test_pack_1_append_args args;\n"
                    "  args.struct_size = (int64_t)sizeof args;\n  args.tokens = TEST_PACK_1_HEADS;\n"
                    "  return sizeof args == 104 && test_pack_1_append(&args) == 0;\n}\n");
  const std::string flags = " -Wall -Wextra -Werror -pedantic -c -o /dev/null -I" + (pack / "include").string() +
                            " -I" + directory->path().string() + " ";
  int compilers = 0;
  for (const char *compiler : {"clang-22 -x c -std=c99", "clang-22 -x c -std=c11", "clang-22 -x c++ -std=c++17",
                               "gcc -x c -std=c99", "g++ -x c++ -std=c++17", "g++ -x c++ -std=c++20"}) {
    const std::string program(compiler, std::string(compiler).find(' '));
    if (!llvm::sys::findProgramByName(program))
      continue;
    ++compilers;
    std::string output;
    EXPECT_EQ(runCommand(compiler + flags + source.string(), output), 0) << compiler << "\n" << output;

    // A status that is thrown away is a warning, hence an error here.
    const fs::path careless = directory->path() / "careless.c";
    writeText(careless, "#include \"test_pack_1.h\"\nvoid use(void);\nvoid use(void) { test_pack_1_merge(0); }\n");
    EXPECT_NE(runCommand(compiler + flags + careless.string(), output), 0) << compiler;
    EXPECT_NE(output.find("unused-result"), std::string::npos) << output;
  }
  EXPECT_GE(compilers, 3);
  fs::remove(source);
  fs::remove(other);
  fs::remove(directory->path() / "careless.c");
}

TEST_F(PackTest, headerStatesConstantsShapesAndMeaning) {
  const std::string header = readText(pack / "include/test_pack_1.h");
  for (const char *expected :
       {"TEST_PACK_1_LAYER_HEADS = 5,",
        "TEST_PACK_1_FIRST_HEAD = 1,",
        "TEST_PACK_1_HEADS = 3,",
        "TEST_PACK_1_Q_RANK = 3,",
        "TEST_PACK_1_Q_FEATURES = 8,",
        "TEST_PACK_1_K_RANK = 2,",
        "TEST_PACK_1_K_TOKEN0_SIZE = 4,",
        "TEST_PACK_1_K_TOKEN1_SIZE = 2,",
        "TEST_PACK_1_K_FEATURES = 8,",
        "TEST_PACK_1_V_RANK = 3,",
        "TEST_PACK_1_V_TOKEN_SIZE = 7,",
        "TEST_PACK_1_ROPE_FEATURES = 4,",
        "TEST_PACK_1_CACHE_BYTES_PER_TOKEN = 12,",
        "#define TEST_PACK_1_ROPE_BASE 5000.0 ",
        "tpac_tensor k_head; /* in, bf16 [tokens, 2, 3]: head factor of K */",
        "tpac_tensor token_start; /* in, i32 [batch + 1]: first token of each request, then tokens */",
        "tpac_tensor k_head_cache; /* inout, bf16 [batch, capacity, 2, 3]: cached / * factor * / */",
        "TPAC_MUST_USE int32_t test_pack_1_merge(const test_pack_1_merge_args *args);",
        "const char *test_pack_1_status_message(int32_t status);",
        "const tpac_executor *executor; /* runs the work items; NULL: the calling thread does */"})
    EXPECT_NE(header.find(expected), std::string::npos) << expected << "\n" << header;
  // Nothing of it splits caches.
  EXPECT_EQ(header.find("workspace"), std::string::npos) << header;
}

TEST(Header, definesExecutorsAsTheRuntimeDoes) {
  auto header = headerText(testPack());
  ASSERT_TRUE(bool(header));
  const std::string runtime = readText(TPAC_SOURCE_ROOT "/runtime/include/tpac/executor.h");
  const size_t begin = runtime.find("#ifndef TPAC_EXECUTOR_DEFINED"), end = runtime.find("#endif", begin);
  ASSERT_NE(end, std::string::npos);
  EXPECT_NE(header->find(runtime.substr(begin, end - begin)), std::string::npos);
}

TEST(Header, describesScratch) {
  Pack pack = testPack();
  pack.targets = {"x86-64-v2"};
  pack.signatures[0].scratch = 300032;
  auto header = headerText(pack);
  ASSERT_TRUE(bool(header));
  for (const char *expected :
       {"TEST_PACK_1_THREAD_SCRATCH = 300032,", "void *workspace; /* not read: no cache is split */",
        "void *scratch; /* for tiles, see below; NULL: they are on the stack */",
        "int64_t scratch_size; /* bytes of it, 300032 per thread */", "300032 bytes for each thread"})
    EXPECT_NE(header->find(expected), std::string::npos) << expected << "\n" << *header;
}

TEST(Header, describesWorkspacesOfSplitCaches) {
  Pack pack = testPack();
  pack.signatures[0].phase = Phase::decode;
  pack.signatures[0].split = 4096;
  auto header = headerText(pack);
  ASSERT_TRUE(bool(header));
  for (const char *expected :
       {"void *workspace; /* for parts of split caches, see below; NULL: caches are not split */",
        "int64_t workspace_size; /* bytes of it */", "parts of at\n * most 4096 tokens", "aligned to 64 bytes",
        "int64_t test_pack_1_decode_workspace_size(int64_t tokens, int64_t batch, int64_t capacity);"})
    EXPECT_NE(header->find(expected), std::string::npos) << expected << "\n" << *header;
}

TEST(Header, hasConstantsForEveryConfig) {
  int configs = 0;
  for (const auto &entry : fs::directory_iterator(TPAC_SOURCE_ROOT "/configs")) {
    if (entry.path().extension() != ".json")
      continue;
    Pack pack = testPack();
    pack.variantJson = readText(entry.path());
    auto header = headerText(pack);
    ASSERT_TRUE(bool(header)) << entry.path() << ": " << text(header.takeError());
    const auto variant = nlohmann::json::parse(pack.variantJson);
    EXPECT_NE(header->find("TEST_PACK_1_LAYER_HEADS = " + variant["heads"].dump() + ","), std::string::npos)
        << entry.path();
    ++configs;
  }
  EXPECT_GE(configs, 20);
}

TEST_F(PackTest, manifestDescribesThePack) {
  const auto manifest = nlohmann::json::parse(readText(pack / "test_pack_1.json"));
  EXPECT_EQ(manifest["tpac_pack"], 1);
  EXPECT_EQ(manifest["name"], "test_pack_1");
  EXPECT_EQ(manifest["compiler"]["version"], TPAC_VERSION);
  EXPECT_EQ(manifest["variant"], nlohmann::json::parse(testPack().variantJson));
  ASSERT_EQ(manifest["targets"].size(), 1u);
  EXPECT_EQ(manifest["targets"][0]["name"], "host");
  EXPECT_FALSE(manifest["targets"][0]["triple"].get<std::string>().empty());
  EXPECT_FALSE(manifest["targets"][0]["cpu"].get<std::string>().empty());
  ASSERT_EQ(manifest["phases"].size(), 2u);
  const auto &append = manifest["phases"][0];
  EXPECT_EQ(append["name"], "append");
  EXPECT_EQ(append["function"], "test_pack_1_append");
  EXPECT_EQ(append["sizes"], nlohmann::json({"tokens", "batch", "capacity"}));
  EXPECT_EQ(append["schedules"],
            nlohmann::json::array({{{"target", "host"}, {"origin", "heuristic"}, {"text", "#a"}}}));
  EXPECT_EQ(append["tensors"][1]["shape"], nlohmann::json({"batch + 1"}));
  EXPECT_EQ(append["tensors"][3]["name"], "k_head_cache");
  EXPECT_EQ(append["tensors"][3]["access"], "inout");
  EXPECT_EQ(append["tensors"][3]["type"], "bf16");
  EXPECT_EQ(append["tensors"][3]["shape"], nlohmann::json({"batch", "capacity", "2", "3"}));
  EXPECT_EQ(manifest["cache_bytes_per_token"],
            nlohmann::json({{"head", 12}, {"token", 0}, {"scale", 0}, {"position", 0}, {"total", 12}}));

  std::vector<std::string> paths = {"test_pack_1.json"};
  for (const auto &file : manifest["files"]) {
    const std::string content = readText(pack / file["path"].get<std::string>());
    EXPECT_EQ(file["bytes"], content.size());
    EXPECT_EQ(file["sha256"], sha256(content));
    paths.push_back(file["path"]);
  }
  std::sort(paths.begin(), paths.end());
  EXPECT_EQ(paths, list(pack));
}

TEST_F(PackTest, manifestReadsBackWhatWasWritten) {
  auto content = readManifest(readText(pack / "test_pack_1.json"));
  ASSERT_TRUE(bool(content)) << text(content.takeError());
  EXPECT_EQ(content->name, "test_pack_1");
  EXPECT_EQ(nlohmann::json::parse(content->variantJson), nlohmann::json::parse(testPack().variantJson));
  EXPECT_EQ(content->targets, std::vector<std::string>{"host"});
  EXPECT_EQ(content->library, "lib/libtest_pack_1.so");
  const std::vector<PhaseSignature> written = testPack().signatures;
  ASSERT_EQ(content->signatures.size(), written.size());
  for (size_t phase = 0; phase < written.size(); ++phase) {
    const PhaseSignature &read = content->signatures[phase];
    EXPECT_EQ(read.phase, written[phase].phase);
    EXPECT_EQ(read.sizes, written[phase].sizes);
    ASSERT_EQ(read.tensors.size(), written[phase].tensors.size());
    for (size_t index = 0; index < read.tensors.size(); ++index) {
      const PhaseTensor &tensor = read.tensors[index], &expected = written[phase].tensors[index];
      EXPECT_EQ(tensor.name, expected.name);
      EXPECT_EQ(tensor.access, expected.access);
      EXPECT_EQ(tensorText(tensor), tensorText(expected));
    }
  }
}

TEST_F(PackTest, manifestDimensionsReadBack) {
  auto manifest = nlohmann::json::parse(readText(pack / "test_pack_1.json"));
  const std::vector<Dimension> dimensions = {{"", 47},       {"tokens", 0},       {"batch", 1},
                                             {"tokens", -2}, {"capacity", 0, 32}, {"capacity", 3, 16}};
  auto &shape = manifest["phases"][0]["tensors"][0]["shape"] = nlohmann::json::array();
  for (const Dimension &dimension : dimensions)
    shape.push_back(dimensionText(dimension));
  auto content = readManifest(manifest.dump());
  ASSERT_TRUE(bool(content)) << text(content.takeError());
  const std::vector<Dimension> &read = content->signatures[0].tensors[0].shape;
  ASSERT_EQ(read.size(), dimensions.size());
  for (size_t index = 0; index < read.size(); ++index) {
    EXPECT_EQ(read[index].symbol, dimensions[index].symbol);
    EXPECT_EQ(read[index].size, dimensions[index].size);
    EXPECT_EQ(read[index].divisor, dimensions[index].divisor);
  }
}

TEST_F(PackTest, manifestScratchIsEveryPhases) {
  auto manifest = nlohmann::json::parse(readText(pack / "test_pack_1.json"));
  auto scratchOfFirst = [&] {
    auto content = readManifest(manifest.dump());
    return content ? content->signatures[0].scratch : -1;
  };
  manifest["thread_scratch"] = 300032;
  EXPECT_EQ(scratchOfFirst(), 300032);
  manifest.erase("thread_scratch");
  EXPECT_EQ(scratchOfFirst(), 0);
}

TEST_F(PackTest, brokenManifestsAreRefused) {
  const auto manifest = nlohmann::json::parse(readText(pack / "test_pack_1.json"));
  auto refused = [&](const char *pointer, nlohmann::json value) {
    nlohmann::json broken = manifest;
    broken[nlohmann::json::json_pointer(pointer)] = std::move(value);
    auto content = readManifest(broken.dump());
    return content ? "accepted" : text(content.takeError());
  };
  EXPECT_EQ(refused("/tpac_pack", 2), "manifest: tpac_pack: expected 1");
  EXPECT_EQ(refused("/name", 7), "manifest: name: found 7; expected a string");
  EXPECT_EQ(refused("/phases", "all"), "manifest: phases: found \"all\"; expected a list");
  EXPECT_EQ(refused("/phases/0/name", "encode"),
            "manifest: phases[encode].name: found 'encode'; expected one of append, decode, prefill, merge");
  EXPECT_EQ(
      refused("/phases/0/tensors/0/type", "f128"),
      "manifest: phases[append].k_head.type: found 'f128'; expected one of f64, f32, bf16, f16, f8E4M3FN, i8, i32");
  EXPECT_EQ(refused("/phases/0/tensors/0/access", "out of order"),
            "manifest: phases[append].k_head.access: found 'out of order'; expected one of in, inout, out");
  EXPECT_EQ(
      refused("/phases/0/tensors/0/shape/0", "tokens times 2"),
      "manifest: phases[append].k_head.shape: found 'tokens times 2'; expected a number or a size, as \"batch + 1\"");
  EXPECT_EQ(refused("/thread_scratch", -64), "manifest: thread_scratch: found -64; expected a number of bytes");
  EXPECT_EQ(refused("/files", nlohmann::json::array()), "manifest: files: expected a shared library among them");
  nlohmann::json gpuAlone = manifest;
  gpuAlone["files"] = nlohmann::json::array();
  gpuAlone["gpu"] = nlohmann::json::object();
  auto forGpus = readManifest(gpuAlone.dump());
  ASSERT_TRUE(bool(forGpus)) << text(forGpus.takeError());
  EXPECT_EQ(forGpus->library, "");
  nlohmann::json lacking = manifest;
  lacking.erase("variant");
  auto content = readManifest(lacking.dump());
  ASSERT_FALSE(bool(content));
  EXPECT_EQ(text(content.takeError()), "manifest: variant: is missing");
  content = readManifest("{");
  ASSERT_FALSE(bool(content));
  EXPECT_NE(text(content.takeError()).find("parse error"), std::string::npos);
}

TEST(Manifest, sha256OfKnownText) {
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(SignatureText, countsTheCacheByWhatItHolds) {
  const Dimension batch{"batch", 0}, capacity{"capacity", 0};
  const PhaseSignature decode{
      Phase::decode,
      {"tokens", "batch", "capacity"},
      {{"q_token", ElementType::bf16, {{"tokens", 0}, {"", 9}}, Access::in, ""},
       {"k_head_cache", ElementType::f16, {batch, capacity, {"", 2}, {"", 47}}, Access::in, ""},
       {"k_token0_cache", ElementType::i8, {batch, capacity, {"", 2}, {"", 64}}, Access::in, ""},
       {"k_scale_cache", ElementType::f32, {batch, capacity, {"", 2}}, Access::in, ""},
       {"key_positions_cache", ElementType::i32, {batch, capacity}, Access::in, ""}}};
  const CacheBytes bytes = cacheBytesPerToken({decode, decode});
  EXPECT_EQ(bytes.head, 188);
  EXPECT_EQ(bytes.token, 128);
  EXPECT_EQ(bytes.scale, 8);
  EXPECT_EQ(bytes.position, 4);
  EXPECT_EQ(bytes.total(), 328);
}

TEST_F(PackTest, librariesExportTheAbiAlone) {
  auto shared = llvm::object::ObjectFile::createObjectFile((pack / "lib/libtest_pack_1.so").string());
  ASSERT_TRUE(bool(shared)) << text(shared.takeError());
  EXPECT_EQ(definedNames(llvm::cast<llvm::object::ELFObjectFileBase>(shared->getBinary())->getDynamicSymbolIterators()),
            abi);

  auto buffer =
      llvm::cantFail(llvm::errorOrToExpected(llvm::MemoryBuffer::getFile((pack / "lib/libtest_pack_1.a").string())));
  auto archive = llvm::cantFail(llvm::object::Archive::create(buffer->getMemBufferRef()));
  llvm::Error error = llvm::Error::success();
  std::set<std::string> members;
  for (const auto &child : archive->children(error)) {
    members.insert(llvm::cantFail(child.getName()).str());
    auto binary = llvm::cantFail(child.getAsBinary());
    EXPECT_EQ(definedNames(llvm::cast<llvm::object::ELFObjectFileBase>(binary.get())->symbols()), abi);
  }
  EXPECT_EQ(text(std::move(error)), "");
  EXPECT_EQ(members, std::set<std::string>{"test_pack_1.o"});
}

TEST_F(PackTest, sharedLibraryNeedsLibcAndLibmAlone) {
  std::string output;
  ASSERT_EQ(runCommand("ldd " + (pack / "lib/libtest_pack_1.so").string(), output), 0) << output;
  std::istringstream lines(output);
  bool libm = false;
  for (std::string name, line; lines >> name && std::getline(lines, line);) {
    libm = libm || name.find("libm.so") == 0;
    EXPECT_TRUE(name.find("libm.so") == 0 || name.find("libc.so") == 0 || name.find("linux-vdso") == 0 ||
                name.find("/ld-linux") != std::string::npos)
        << name;
  }
  EXPECT_TRUE(libm) << output;
}

TEST_F(PackTest, isFoundByPkgConfigAndCMakeWhereverItIsMoved) {
  TemporaryDirectory work;
  const fs::path moved = work.path() / "moved pack";
  fs::copy(pack, moved, fs::copy_options::recursive);
  writeText(work.path() / "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.20)\nproject(consumer C)\nfind_package(test_pack_1 REQUIRED)\n"
            "foreach(kind test_pack_1 test_pack_1_static)\n  add_executable(use_${kind} use.c)\n"
            "  target_link_libraries(use_${kind} test_pack_1::${kind})\nendforeach()\n");
  writeText(work.path() / "use.c", "#include <stdio.h>\n#include \"test_pack_1.h\"\n"
                                   "int main(void) {\n  int32_t status = test_pack_1_merge(NULL);\n"
                                   "  puts(test_pack_1_status_message(status));\n  return status == 0;\n}\n");
  const std::string root = work.path().string();
  std::string output;
  ASSERT_EQ(runCommand("cmake -S " + root + " -B " + root + "/build '-DCMAKE_PREFIX_PATH=" + moved.string() +
                           "' && cmake --build " + root + "/build",
                       output),
            0)
      << output;
  for (const char *kind : {"test_pack_1", "test_pack_1_static"}) {
    EXPECT_EQ(runCommand(root + "/build/use_" + kind, output), 0) << output;
    EXPECT_EQ(output, "test_pack_1_merge: args is NULL; expected a pointer to test_pack_1_merge_args\n");
  }

  if (llvm::sys::findProgramByName("pkg-config")) {
    ASSERT_EQ(runCommand("PKG_CONFIG_PATH='" + moved.string() +
                             "/lib/pkgconfig' pkg-config --static --cflags --libs "
                             "test_pack_1",
                         output),
              0)
        << output;
    EXPECT_NE(output.find("-ltest_pack_1 -lm"), std::string::npos) << output;
    EXPECT_NE(output.find("/include"), std::string::npos) << output;
  }
}

TEST_F(PackTest, replacesAPackAsAWhole) {
  TemporaryDirectory work;
  const fs::path path = work.path() / "deep/er/";
  Pack other = testPack();
  other.name = "other";
  ASSERT_EQ(write(path, "host", other), "");
  EXPECT_TRUE(fs::exists(path / "include/other.h"));
  ASSERT_EQ(write(path), "");
  EXPECT_EQ(list(path), list(pack));
  // The same input makes the same bytes.
  for (const std::string &name : list(pack))
    EXPECT_EQ(readText(path / name), readText(pack / name)) << name;
  EXPECT_EQ(std::distance(fs::directory_iterator(work.path() / "deep"), fs::directory_iterator()), 1);

  // Through a symbolic link, the directory that it names is replaced, not the link.
  fs::create_directory_symlink(path, work.path() / "link");
  ASSERT_EQ(write(work.path() / "link", "host", other), "");
  EXPECT_TRUE(fs::is_symlink(work.path() / "link"));
  EXPECT_TRUE(fs::exists(path / "include/other.h"));
}

TEST_F(PackTest, refusesDirectoriesThatHoldAnythingElse) {
  TemporaryDirectory work;
  const std::string foreign = (work.path() / "foreign").string();
  fs::create_directory(foreign);
  EXPECT_EQ(write(foreign), "");
  writeText(foreign + "/notes.txt", "mine");
  EXPECT_EQ(write(foreign), "output directory " + foreign +
                                " is a kernel pack, but holds 'notes.txt', which is not part of it; expected nothing "
                                "but the pack, which is replaced as a whole");
  EXPECT_EQ(readText(foreign + "/notes.txt"), "mine");

  for (const char *manifest : {"{}", "not JSON", R"({"tpac_pack": 99, "files": []})", R"({"tpac_pack": 1})"}) {
    const std::string other = (work.path() / "other").string();
    fs::create_directory(other);
    writeText(other + "/test_pack_1.json", manifest);
    EXPECT_EQ(write(other), "output directory " + other +
                                " exists and is not a kernel pack (no manifest of format 1); expected a new or empty "
                                "directory, or a pack to replace")
        << manifest;
    EXPECT_EQ(readText(other + "/test_pack_1.json"), manifest);
    fs::remove_all(other);
  }

  const std::string file = (work.path() / "file").string();
  writeText(file, "mine");
  EXPECT_EQ(write(file), "output directory " + file + " is a file; expected a directory or a new path");
  EXPECT_EQ(readText(file), "mine");
}

TEST_F(PackTest, leavesNothingBehindWhereItFails) {
  TemporaryDirectory work;
  Pack broken = testPack();
  broken.variantJson = "{}";
  const std::string message = write(work.path() / "pack", "host", broken);
  EXPECT_NE(message.find("key 'heads' not found"), std::string::npos) << message;
  EXPECT_TRUE(fs::is_empty(work.path()));

  EXPECT_NE(write(work.path() / "pack", "z80").find("target 'z80' is not known; accepted: host, x86-64-v2"),
            std::string::npos);
  EXPECT_TRUE(fs::is_empty(work.path()));

  const std::string path = getenv("PATH");
  setenv("PATH", work.path().c_str(), 1);
  const std::string noCompiler = write(work.path() / "pack");
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(noCompiler, "no C compiler to link the shared library for target 'host': searched PATH for cc, gcc, "
                        "clang-22, clang");
  EXPECT_TRUE(fs::is_empty(work.path()));
}

TEST_F(PackTest, reportsWhatTheLinkerSays) {
  TemporaryDirectory work;
  mlir::MLIRContext context;
  auto module = lowerToLlvmDialect(context, "func.func private @no_such_function()\n"
                                            "func.func @merge() { func.call @no_such_function() : () -> () return }");
  Pack pack = testPack();
  pack.signatures = {{Phase::merge, {}, {}}};
  const std::string message = writePackFor(*module, pack, {"host"}, work.path() / "pack");
  EXPECT_NE(message.find("could not link libtest_pack_1.so"), std::string::npos) << message;
  EXPECT_NE(message.find("no_such_function"), std::string::npos) << message;
  EXPECT_TRUE(fs::is_empty(work.path()));
}

TEST(ObjectFile, writesIrAndAssemblyForEachTarget) {
  mlir::MLIRContext context;
  auto module = testModule(context);
  ASSERT_TRUE(mlir::succeeded(addCInterface(*module, "p", testPack().signatures)));
  for (const std::string &name : acceptedTargets()) {
    auto target = findTarget(name);
    ASSERT_TRUE(bool(target)) << text(target.takeError());
    auto ir = emitLlvmIr(*module, *target);
    ASSERT_TRUE(bool(ir)) << text(ir.takeError());
    EXPECT_NE(ir->find("@p_append(ptr"), std::string::npos) << *ir;
    EXPECT_NE(ir->find("target triple = \"" + target->triple + "\""), std::string::npos) << *ir;
    auto assembly = emitAssembly(*module, *target);
    ASSERT_TRUE(bool(assembly)) << text(assembly.takeError());
    EXPECT_NE(assembly->find("p_append:"), std::string::npos) << *assembly;
  }
}

} // namespace tpac::test
