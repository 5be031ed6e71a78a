// SPDX-License-Identifier: Apache-2.0
//
// The library as engines get it: headers in the languages they name, exported symbols, needed libraries, a C program.

#include "tests/unit/runtime/TestFiles.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

using tpac::test::runCommand;
using tpac::test::TemporaryFolder;

namespace {

const std::string library = TPAC_RUNTIME_LIBRARY;
const std::string includes = " -I" TPAC_SOURCE_ROOT "/runtime/include ";

/// The command lines of the compilers that are installed, with each language the headers are for.
std::vector<std::string> compilers() {
  std::vector<std::string> found;
  for (const char *compiler : {"clang-22 -x c -std=c99", "clang-22 -x c -std=c11", "clang-22 -x c++ -std=c++17",
                               "gcc -x c -std=c99", "g++ -x c++ -std=c++17", "g++ -x c++ -std=c++20"}) {
    const std::string command(compiler);
    if (runCommand("command -v " + command.substr(0, command.find(' '))).status == 0)
      found.push_back(command + " -Wall -Wextra -Wstrict-aliasing -pedantic -Werror");
  }
  return found;
}

/// A pack's header repeats the executor's definition, under the same guard.
const std::string packHeader = "#include <stdint.h>\n"
                               "#ifndef TPAC_EXECUTOR_DEFINED\n"
                               "#define TPAC_EXECUTOR_DEFINED\n"
                               "typedef struct tpac_executor {\n"
                               "  void *context;\n"
                               "  int32_t concurrency;\n"
                               "  void (*run)(void *context, void (*task)(void *argument, int64_t index),\n"
                               "              void *argument, int64_t count);\n"
                               "} tpac_executor;\n"
                               "#endif\n";

const std::string program = R"(
static void square(void *argument, int64_t index) { ((int64_t *)argument)[index] = index * index; }

int main(void) {
  tpac_thread_pool_config config;
  tpac_thread_pool *pool;
  const tpac_executor *executor;
  int64_t values[100], sum = 0;
  int i;
  int32_t status, threads;
  config.struct_size = (int64_t)sizeof config;
  config.threads = 2;
  config.pin = 0;
  config.spin_microseconds = TPAC_SPIN_NEVER;
  if (tpac_runtime_abi_version() != TPAC_RUNTIME_ABI_VERSION)
    return 1;
  status = tpac_thread_pool_create(&config, &pool);
  if (status != TPAC_SUCCESS) {
    puts(tpac_runtime_status_message(status));
    return 1;
  }
  executor = tpac_thread_pool_executor(pool);
  executor->run(executor->context, square, values, 100);
  threads = executor->concurrency;
  tpac_thread_pool_destroy(pool);
  for (i = 0; i < 100; ++i)
    sum += values[i];
  printf("%d threads, sum %d\n", (int)threads, (int)sum);
  return 0;
}
)";

} // namespace

TEST(Headers, compileInEveryLanguageTheyName) {
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  folder.write("pack.h", packHeader);
  folder.write("status.c", "#include \"tpac/status.h\"\n");
  folder.write("executor.c", "#include \"tpac/executor.h\"\n#include \"tpac/executor.h\"\n");
  folder.write("page_pool.c", "#include \"tpac/page_pool.h\"\n#include \"tpac/executor.h\"\n");
  folder.write("packs.c", "#include \"tpac/pack.h\"\n#include \"tpac/executor.h\"\n");
  folder.write("pack_before.c", "#include \"pack.h\"\n#include \"tpac/executor.h\"\n");
  folder.write("pack_after.c", "#include \"tpac/executor.h\"\n#include \"pack.h\"\n");
  folder.write("careless.c", "#include \"tpac/executor.h\"\nvoid use(tpac_thread_pool **pool);\n"
                             "void use(tpac_thread_pool **pool) { tpac_thread_pool_create(0, pool); }\n");
  const std::vector<std::string> all = compilers();
  ASSERT_GE(all.size(), 3u);
  for (const std::string &compiler : all) {
    const std::string command = compiler + includes + "-I" + path + " -c -o /dev/null " + path;
    for (const char *source :
         {"/status.c", "/executor.c", "/page_pool.c", "/packs.c", "/pack_before.c", "/pack_after.c"}) {
      const auto result = runCommand(command + source);
      EXPECT_EQ(result.status, 0) << command << source << "\n" << result.output;
    }
    // A status that is thrown away is a warning, hence an error here.
    const auto careless = runCommand(command + "/careless.c");
    EXPECT_NE(careless.status, 0) << compiler;
    EXPECT_NE(careless.output.find("unused-result"), std::string::npos) << careless.output;
  }
}

TEST(Library, exportsItsInterfaceAlone) {
  const auto result = runCommand("nm -D --defined-only --format=posix " + library);
  ASSERT_EQ(result.status, 0) << result.output;
  std::set<std::string> names;
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);)
    names.insert(line.substr(0, line.find(' ')));
  EXPECT_EQ(names, (std::set<std::string>{"tpac_kernels_bind",        "tpac_kernels_cache_layout",
                                          "tpac_kernels_create",      "tpac_kernels_destroy",
                                          "tpac_kernels_launch",      "tpac_kernels_run",
                                          "tpac_kernels_target",      "tpac_kernels_workspace_size",
                                          "tpac_pack_close",          "tpac_pack_manifest",
                                          "tpac_pack_name",           "tpac_pack_open",
                                          "tpac_pack_open_memory",    "tpac_page_pool_add",
                                          "tpac_page_pool_append",    "tpac_page_pool_block_table",
                                          "tpac_page_pool_create",    "tpac_page_pool_destroy",
                                          "tpac_page_pool_fork",      "tpac_page_pool_get_statistics",
                                          "tpac_page_pool_length",    "tpac_page_pool_page_list",
                                          "tpac_page_pool_remove",    "tpac_page_pool_truncate",
                                          "tpac_runtime_abi_version", "tpac_runtime_status_message",
                                          "tpac_runtime_version",     "tpac_thread_pool_create",
                                          "tpac_thread_pool_destroy", "tpac_thread_pool_executor"}));
}

TEST(Library, needsTheLanguagesLibrariesAlone) {
#if TPAC_RUNTIME_SANITIZED
  GTEST_SKIP() << "sanitizers bring libraries of their own";
#endif
  const auto result = runCommand("ldd " + library);
  ASSERT_EQ(result.status, 0) << result.output;
  const std::set<std::string> accepted = {"linux-vdso", "libstdc++", "libm", "libgcc_s", "libc", "libpthread"};
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    const size_t start = line.find_first_not_of(" \t");
    std::string name = line.substr(start, line.find_first_of(" \t", start) - start);
    name = name.substr(name.rfind('/') + 1);
    if (!name.starts_with("ld-linux"))
      EXPECT_TRUE(accepted.contains(name.substr(0, name.find(".so")))) << line;
  }
}

TEST(Library, isLinkedByACProgram) {
#if TPAC_RUNTIME_SANITIZED
  GTEST_SKIP() << "the program is not instrumented";
#endif
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  folder.write("use.c", "#include \"tpac/executor.h\"\n#include <stdio.h>\n" + program);
  const std::string libraries = library.substr(0, library.rfind('/'));
  for (const std::string &link : {"-L" + libraries + " -Wl,-rpath," + libraries + " -ltpac_runtime",
                                  libraries + "/libtpac_runtime.a -lstdc++ -lm -lpthread"}) {
    const auto built = runCommand("cc -std=c99 -pedantic -Wall -Wextra -Werror" + includes + path + "/use.c -o " +
                                  path + "/use " + link);
    ASSERT_EQ(built.status, 0) << built.output;
    const auto result = runCommand(path + "/use");
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.output, "2 threads, sum 328350\n");
  }
}
