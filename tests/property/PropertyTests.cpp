// SPDX-License-Identifier: Apache-2.0
//
// The property tests: hundreds of random members against the oracle.
//
//   PropertyTests [--seed N | --first N --count N] [--threads N] [GoogleTest's options]
//
// TPAC_SEED=N is --seed N. TPAC_TEST_EFFORT (quick, normal, full) sets the number of members where --count does not.

#include "tests/property/Check.h"
#include "tests/property/InterpretedProgram.h"
#include "tests/property/Random.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>

namespace property {
namespace {

struct Options {
  uint64_t first = 1;
  int64_t count = 0;
  unsigned threads = 1;
};

Options options;

/// Twelve consecutive seeds hold every kind of workload (Family.h); fewer prove nothing about coverage.
constexpr int64_t coveringCount = 12;
/// Members of a full run.
constexpr int64_t fullCount = 1000;

// ---- A crash names its seed ----

thread_local uint64_t runningSeed = 0;

extern "C" void reportCrash(int signal) {
  char text[] = "\nPropertyTests: crashed; to reproduce: PropertyTests --seed 00000000000000000000\n";
  char *digit = text + sizeof(text) - 3;
  for (uint64_t rest = runningSeed; rest != 0; rest /= 10)
    *digit-- = static_cast<char>('0' + rest % 10);
  if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
    _exit(2);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

/// While it lives, its thread reports crashes on a stack of its own: a kernel's frame may have taken the thread's.
class SignalStack {
public:
  SignalStack() : memory(1 << 18) {
    stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
    if (sigaltstack(&stack, nullptr) != 0)
      std::perror("PropertyTests: sigaltstack");
  }
  ~SignalStack() {
    stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    sigaltstack(&none, nullptr);
  }
  SignalStack(const SignalStack &) = delete;
  SignalStack &operator=(const SignalStack &) = delete;

private:
  std::vector<char> memory;
};

// ---- Progress ----

class Progress {
public:
  explicit Progress(int64_t total) : total(total), isTerminal(isatty(STDERR_FILENO)) {}

  void show(int64_t done, int64_t failed) {
    if (!isTerminal)
      return;
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double left = seconds / static_cast<double>(done) * static_cast<double>(total - done);
    std::fprintf(stderr, "\r%lld of %lld members, %lld failed, %.0f s, %.0f s to go ", static_cast<long long>(done),
                 static_cast<long long>(total), static_cast<long long>(failed), seconds, left);
    if (done == total)
      std::fputc('\n', stderr);
  }

private:
  int64_t total;
  bool isTerminal;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

std::string reproduction(const Member &member) {
  return "seed " + std::to_string(member.seed) + "\nvariant: " + member.variant.dump() +
         "\nworkload: " + describe(member.workload) + "\nto reproduce: PropertyTests --seed " +
         std::to_string(member.seed);
}

/// Calls `work(i)` for i < count on `options.threads` threads.
void inParallel(int64_t count, const std::function<void(int64_t)> &work) {
  std::atomic<int64_t> next{0};
  auto loop = [&] {
    SignalStack stack;
    for (int64_t i = next++; i < count; i = next++)
      work(i);
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < options.threads; ++i)
    threads.emplace_back(loop);
  loop();
  for (std::thread &thread : threads)
    thread.join();
}

/// Checks members by one route, or by several that differ in their schedules; keeps coverage and failures of all of
/// them.
class Campaign {
public:
  Campaign(Route route, int64_t count) : route(std::move(route)), count(count), progress(count) {}

  void check(const Member &member, const std::string &name) { check(member, route, name); }

  void check(const Member &member, const Route &route, const std::string &name) {
    runningSeed = member.seed;
    std::string failure;
    Coverage covered;
    try {
      covered = property::check(member, route);
    } catch (const std::exception &error) {
      failure = error.what();
    }
    std::lock_guard<std::mutex> lock(mutex);
    coverage.add(covered);
    if (!failure.empty())
      failures[name] = failure + "\n" + reproduction(member) + " (route " + route.name + ")";
    progress.show(++done, static_cast<int64_t>(failures.size()));
  }

  /// Fails the test for each failure; prints what was met.
  void report() const {
    constexpr size_t shown = 10;
    size_t number = 0;
    std::string names;
    for (const auto &[name, text] : failures) {
      names += " " + name;
      if (number++ < shown)
        ADD_FAILURE() << text;
    }
    if (!failures.empty())
      ADD_FAILURE() << failures.size() << " of " << count << " members failed by route " << route.name << ":" << names;
    std::cout << route.name << ": " << done << " members: " << coverage.raggedBatches << " ragged batches, "
              << coverage.emptyBatches << " empty ones, " << coverage.requestsOfLengthZero
              << " requests of length 0 and " << coverage.requestsOfLengthOne << " of length 1, "
              << coverage.rowsThatSeeNothing << " rows that see nothing, " << coverage.rowsWithLseBeyond100
              << " with LSE beyond 100, " << coverage.prefills << " prefills, " << coverage.merges << " merges, "
              << coverage.blocked << " with V in blocks, " << coverage.paged << " with pages, " << coverage.sharedPages
              << " of them shared, " << coverage.pageLists << " calls with lists of pages\n";
    for (const auto &[tolerance, share] : coverage.worstShares)
      std::cout << "tolerance " << tolerance << ": the worst figure used " << share << " of its limit\n";
  }

  Coverage coverage;
  std::map<std::string, std::string> failures;

private:
  Route route;
  int64_t count;
  std::mutex mutex;
  int64_t done = 0;
  Progress progress;
};

// ---- Tests ----

TEST(Random, Splitmix64) {
  Random random(0);
  EXPECT_EQ(random.next(), 0xe220a8397b1dcdafu);
  EXPECT_EQ(random.next(), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(random.next(), 0x06c45d188009454fu);
}

TEST(Family, MembersObeyTheRules) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    Member member = generateMember(seed);
    SCOPED_TRACE(reproduction(member));
    oracle::Variant variant = oracle::parseVariant(member.variant);
    ASSERT_EQ(variant.q.features(), variant.k.features());
    ASSERT_LE(variant.headEnd, variant.heads);
    ASSERT_LT(variant.headBegin, variant.headEnd);
    for (const oracle::Factorization *side : {&variant.q, &variant.k, &variant.v}) {
      if (side->headMap == oracle::HeadMap::oneHot)
        ASSERT_EQ(side->rank, variant.heads);
      if (side->headMap == oracle::HeadMap::ones)
        ASSERT_EQ(side->rank, 1);
      if (side->headFunction == oracle::HeadFunction::softmax)
        ASSERT_EQ(variant.localHeads(), variant.heads);
    }
    bool valueSeesRotated = false;
    if (variant.rope) {
      int64_t block = variant.ropeBlock();
      ASSERT_EQ(variant.q.features() % block, 0);
      ASSERT_EQ(variant.q.token.front().size % block, 0);
      ASSERT_EQ(variant.k.token.front().size % block, 0);
      ASSERT_LE(variant.rope->offset + variant.rope->rotated, block);
      ASSERT_GE(variant.rope->rotated, 2);
      ASSERT_EQ(variant.rope->rotated % 2, 0);
      if (variant.v.isShared())
        for (int64_t e = 0; e < variant.v.features(); ++e)
          valueSeesRotated |=
              e % block >= variant.rope->offset && e % block < variant.rope->offset + variant.rope->rotated;
    }
    ASSERT_EQ(!variant.vSees.empty(), valueSeesRotated);
    if (variant.v.isShared()) {
      ASSERT_EQ(variant.localRank(variant.v), variant.localRank(variant.k));
      ASSERT_EQ(variant.v.token.size(), variant.k.token.size());
    }
  }
}

/// Every value of every field must come up, or members of the family go untested.
TEST(Family, EveryOptionComesUp) {
  std::map<std::string, std::set<std::string>> seen;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    nlohmann::json json = generateMember(seed).variant;
    oracle::Variant variant = oracle::parseVariant(json);
    for (const char *side : {"q", "k", "v"}) {
      const nlohmann::json &value = json[side];
      std::string prefix(side);
      if (value.contains("dense")) {
        seen[prefix].insert("dense");
        continue;
      }
      seen[prefix + " order"].insert(std::to_string(value["token"].size() + 1));
      seen[prefix + " rank"].insert(std::to_string(std::min(5, value["rank"].get<int>())));
      seen[prefix + " head"].insert(value["head"]["source"].get<std::string>());
      seen[prefix + " map"].insert(value["head"].value("map", "none"));
      seen[prefix + " function"].insert(value["head"].value("function", "identity"));
      for (const nlohmann::json &factor : value["token"])
        seen[prefix + " token"].insert(factor["source"].get<std::string>());
    }
    for (const char *field : {"v_sees", "scale", "softcap", "window", "head_range", "rope"})
      seen[field].insert(json.contains(field) ? "present" : "absent");
    seen["query"].insert(json.value("query_precision", "full"));
    seen["causal"].insert(variant.causal ? "true" : "false");
    seen["v_sees"].insert(variant.vSees);
    seen["on read"].insert(variant.rotatesOnRead() ? "true" : "false");
    for (const char *field : {"layout", "direction", "base", "offset", "inv_freq", "amplitude"})
      if (json.contains("rope"))
        seen[std::string("rope ") + field].insert(json["rope"].contains(field) ? "present" : "absent");
    for (oracle::Type type : {variant.activation, variant.head, variant.output})
      seen["type"].insert(oracle::typeName(type));
    seen["token type"].insert(oracle::typeName(variant.token));
    seen["compute"].insert(oracle::typeName(variant.compute));
    seen["heads"].insert(std::to_string(variant.heads));
  }
  const std::map<std::string, size_t> expected = {{"q", 1},
                                                  {"k", 1},
                                                  {"v", 1},
                                                  {"q order", 4},
                                                  {"k order", 4},
                                                  {"v order", 4},
                                                  {"q rank", 5},
                                                  {"k rank", 5},
                                                  {"v rank", 5},
                                                  {"q head", 3},
                                                  {"k head", 3},
                                                  {"v head", 3},
                                                  {"q map", 4},
                                                  {"k map", 4},
                                                  {"v map", 4},
                                                  {"q function", 3},
                                                  {"k function", 3},
                                                  {"v function", 3},
                                                  {"q token", 2},
                                                  {"k token", 2},
                                                  {"v token", 3},
                                                  {"v_sees", 5},
                                                  {"scale", 2},
                                                  {"softcap", 2},
                                                  {"window", 2},
                                                  {"head_range", 2},
                                                  {"rope", 2},
                                                  {"query", 2},
                                                  {"causal", 2},
                                                  {"on read", 2},
                                                  {"rope layout", 2},
                                                  {"rope base", 2},
                                                  {"rope offset", 2},
                                                  {"rope inv_freq", 2},
                                                  {"rope amplitude", 2},
                                                  {"rope direction", 2},
                                                  {"type", 4},
                                                  {"token type", 6},
                                                  {"compute", 2},
                                                  {"heads", 13}};
  for (const auto &[field, count] : expected)
    EXPECT_EQ(seen[field].size(), count) << field;
}

TEST(Signatures, MatchTheOracle) {
  const std::vector<tpac::Phase> phases = {tpac::Phase::append, tpac::Phase::decode, tpac::Phase::prefill,
                                           tpac::Phase::merge};
  for (uint64_t seed = options.first; seed < options.first + std::min<uint64_t>(4, options.count); ++seed) {
    Member member = generateMember(seed);
    runningSeed = seed;
    try {
      // The route that needs no compiler.
      Route route = {"tiles", Route::Kind::interpreted};
      std::unique_ptr<Program> program = Program::make(route, member.variant.dump(), phases);
      for (tpac::Phase phase : phases)
        checkSignature(oracle::parseVariant(member.variant), program->signature(phase));
    } catch (const std::exception &error) {
      ADD_FAILURE() << error.what() << "\n" << reproduction(member);
    }
  }
}

/// Queries as columns of matrix tiles, several steps of cached tokens whole: with 32 features a step has so few
/// products that what vectors read of it is late. Of three heads, two at a time, the last is alone.
TEST(Prefill, StepsOfFewProducts) {
  for (auto [heads, precision] : {std::pair(2, "full"), std::pair(2, "storage"), std::pair(3, "full")}) {
    auto factors = [](int64_t rank) {
      return nlohmann::json{
          {"rank", rank}, {"head", {{"source", "contextual"}}}, {"token", {{{"source", "contextual"}, {"size", 32}}}}};
    };
    nlohmann::json variant = {
        {"tpac_variant", 1}, {"name", "few-products"}, {"heads", heads}, {"query_precision", precision},
        {"q", factors(2)},   {"k", factors(1)},        {"v", factors(1)}};
    Workload workload;
    workload.appended = {{230, 300}};
    workload.queries = {70, 33};
    workload.spareCapacity = 2;
    workload.firstPositions = {0, 0};
    workload.prefill = true;
    Member member{options.first, variant, workload};
    try {
      property::check(member, Route{"fused", Route::Kind::compiled});
    } catch (const std::exception &error) {
      ADD_FAILURE() << error.what() << "\n" << heads << " heads, " << precision << "\n" << describe(workload);
    }
  }
}

class Property : public testing::TestWithParam<Route> {};
class Schedules : public testing::TestWithParam<std::string> {};

/// Compiling kernels takes most of the time of such a route.
bool compilesKernels(const Route &route) {
  return route.kind != Route::Kind::interpreted && route.path == tpac::CodePath::fused;
}

/// Members to check by `route`. Levels below the host's differ from it in vector lengths alone; only a full run gives
/// all routes as many.
int64_t countOf(const Route &route) {
  if (!compilesKernels(route) || options.count <= 1 || options.count >= fullCount)
    return options.count;
  if (route.kind == Route::Kind::emulated)
    return options.count > coveringCount ? std::max(coveringCount, options.count / 20) : 1;
  return route.target == "host" ? options.count / 8 : options.count / 20;
}

/// A quick run leaves to the others what takes seconds to compile: each rank and block of features has code
/// of its own.
bool isSmall(const Member &member) {
  oracle::Variant variant = oracle::parseVariant(member.variant);
  auto ranks = [](const oracle::Factorization &side) { return side.headMap == oracle::HeadMap::none ? side.rank : 1; };
  return variant.localHeads() <= 16 && variant.k.features() <= 128 && ranks(variant.k) <= 3 && ranks(variant.v) <= 3;
}

TEST_P(Property, MembersMatchTheOracle) {
  const Route &route = GetParam();
  if (std::string missing = missingFor(route); !missing.empty())
    GTEST_SKIP() << missing;
  int64_t count = countOf(route);
  bool onlySmall = compilesKernels(route) && options.count == coveringCount;
  std::vector<Member> members;
  for (uint64_t seed = options.first; static_cast<int64_t>(members.size()) < count; ++seed)
    if (Member member = generateMember(seed); !onlySmall || isSmall(member))
      members.push_back(std::move(member));
  Campaign campaign(route, count);
  inParallel(count, [&](int64_t i) {
    const Member &member = members[static_cast<size_t>(i)];
    campaign.check(member, std::to_string(member.seed));
  });
  campaign.report();
  if (!campaign.failures.empty() || count < coveringCount)
    return;
  const Coverage &coverage = campaign.coverage;
  EXPECT_GT(coverage.emptyBatches, 0);
  EXPECT_GT(coverage.requestsOfLengthZero, 0);
  EXPECT_GT(coverage.raggedBatches, 0);
  EXPECT_GT(coverage.rowsThatSeeNothing, 0);
  EXPECT_GT(coverage.rowsWithLseBeyond100, 0);
  EXPECT_GT(coverage.prefills, 0);
  EXPECT_GT(coverage.merges, 0);
  EXPECT_GT(coverage.strided, 0);
  EXPECT_GT(coverage.quantised, 0);
  EXPECT_EQ(coverage.blocked > 0, route.path == tpac::CodePath::fused);
  EXPECT_GT(coverage.paged, 0);
}

/// Every variant of configs/, each with a workload of its own.
std::vector<Member> configMembers() {
  std::vector<std::filesystem::path> files;
  for (const auto &entry : std::filesystem::directory_iterator(TPAC_SOURCE_ROOT "/configs"))
    if (entry.path().extension() == ".json")
      files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<Member> members;
  for (const std::filesystem::path &file : files) {
    std::ifstream stream(file);
    members.push_back(memberOf(nlohmann::json::parse(stream), options.first + members.size()));
  }
  return members;
}

TEST_P(Property, ConfigsMatchTheOracle) {
  const Route &route = GetParam();
  if (std::string missing = missingFor(route); !missing.empty())
    GTEST_SKIP() << missing;
  bool isQuick = options.count <= coveringCount;
  std::vector<Member> configs = configMembers();
  if (isQuick)
    std::erase_if(configs, [](const Member &member) { return !isSmall(member); });
  ASSERT_FALSE(configs.empty());
  // In a quick run a few of the small ones will do, other ones for every route.
  size_t step = !isQuick ? 1 : route.target == "host" ? 4 : configs.size();
  // Compiling takes the time: lower levels share the configs, and emulation is slow.
  if (route.kind == Route::Kind::emulated && options.count < fullCount)
    step = std::max<size_t>(step, 6);
  else if (compilesKernels(route) && route.target != "host" && options.count < fullCount)
    step = std::max<size_t>(step, 3);
  size_t first = std::hash<std::string>()(route.name) % step;
  std::vector<Member> chosen;
  for (size_t i = first; i < configs.size(); i += step)
    chosen.push_back(configs[i]);
  Campaign campaign(route, static_cast<int64_t>(chosen.size()));
  inParallel(static_cast<int64_t>(chosen.size()), [&](int64_t i) {
    const Member &member = chosen[static_cast<size_t>(i)];
    campaign.check(member, member.variant["name"]);
  });
  campaign.report();
}

/// One target of each kind of schedule: vectors and matrix tiles of CPUs, GPUs without and with bulk copies.
const std::vector<std::string> scheduledTargets = {"x86-64-v4", "x86-64-amx", "sm_80", "sm_90a"};

// Each kind of schedule without its machine: tile programs of every config under what the target chooses, and under
// schedules drawn from its space, with its roundings, interpreted.
TEST_P(Schedules, ConfigsMatchTheOracle) {
  const std::string &target = GetParam();
  auto number = static_cast<uint64_t>(std::ranges::find(scheduledTargets, target) - scheduledTargets.begin());
  // Schedules drawn for a config. A quick run leaves out the defaults, and five of six configs.
  const bool isQuick = options.count <= coveringCount;
  const uint64_t draws = options.count >= fullCount ? 16 : isQuick ? 1 : 2;
  struct Task {
    Member member;
    Route route;
  };
  std::vector<Task> tasks;
  for (const Member &member : configMembers()) {
    if ((isQuick && member.seed % 6 != number) || !hasSchedules(target, member.variant.dump()))
      continue;
    for (uint64_t draw = isQuick ? 1 : 0; draw <= draws; ++draw) {
      Task task = {memberOf(member.variant, member.seed + draw),
                   {"tiles-" + target, Route::Kind::interpreted, tpac::CodePath::fused, target}};
      if (draw > 0) {
        task.route.scheduleSeed = ((member.seed * scheduledTargets.size() + number) << 8) + draw;
        // One or two parts of the query are legal where it is rounded anyway.
        if (draw % 2 == 0 || (isQuick && member.seed % 2 == 0))
          task.member.variant["query_precision"] = "storage";
      }
      tasks.push_back(std::move(task));
    }
  }
  ASSERT_FALSE(tasks.empty());
  Campaign campaign({"tiles-" + target, Route::Kind::interpreted}, static_cast<int64_t>(tasks.size()));
  inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    const Task &task = tasks[static_cast<size_t>(i)];
    campaign.check(task.member, task.route,
                   task.member.variant["name"].get<std::string>() + "/" + std::to_string(task.route.scheduleSeed));
  });
  campaign.report();
}

std::string testName(std::string text) {
  std::ranges::replace(text, '-', '_');
  return text;
}

INSTANTIATE_TEST_SUITE_P(Targets, Schedules, testing::ValuesIn(scheduledTargets),
                         [](const auto &info) { return testName(info.param); });

INSTANTIATE_TEST_SUITE_P(Routes, Property, testing::ValuesIn(availableRoutes()),
                         [](const auto &info) { return testName(info.param.name); });

// ---- Options ----

[[noreturn]] void usage(const std::string &problem) {
  std::cerr << "PropertyTests: " << problem
            << "\nusage: PropertyTests [--seed N | --first N --count N] [--threads N] [GoogleTest's options]\n";
  std::exit(2);
}

uint64_t number(const std::string &name, const char *text) {
  char *end = nullptr;
  unsigned long long value = std::strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0')
    usage(name + " is '" + text + "'; expected a number");
  return value;
}

int64_t countOfEffort() {
  const char *effort = std::getenv("TPAC_TEST_EFFORT");
  std::string name = effort ? effort : "normal";
  if (name == "quick")
    return coveringCount;
  if (name == "normal")
    return 300;
  if (name == "full")
    return fullCount;
  usage("TPAC_TEST_EFFORT is '" + name + "'; expected quick, normal or full");
}

void parseOptions(int argc, char **argv) {
  options.count = countOfEffort();
  options.threads = std::min(2u, std::max(1u, std::thread::hardware_concurrency()));
  auto single = [](uint64_t seed) {
    options.first = seed;
    options.count = 1;
  };
  if (const char *seed = std::getenv("TPAC_SEED"))
    single(number("TPAC_SEED", seed));
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name != "--seed" && name != "--first" && name != "--count" && name != "--threads")
      usage("unknown option '" + name + "'");
    if (i + 1 == argc)
      usage(name + " needs a number");
    uint64_t value = number(name, argv[++i]);
    if (name == "--seed")
      single(value);
    else if (name == "--first")
      options.first = value;
    else if (name == "--count")
      options.count = static_cast<int64_t>(value);
    else
      options.threads = std::max(1u, static_cast<unsigned>(value));
  }
}

} // namespace
} // namespace property

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  property::parseOptions(argc, argv);
  struct sigaction report{};
  report.sa_handler = property::reportCrash;
  report.sa_flags = SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    sigaction(signal, &report, nullptr);
  return RUN_ALL_TESTS();
}
