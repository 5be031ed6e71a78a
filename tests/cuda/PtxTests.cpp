// SPDX-License-Identifier: Apache-2.0
//
// The machine that executes PTX: what it computes where lanes part and meet, and what it says of kernels that do what
// they must not do.

#include "tests/cuda/ptx/Machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

namespace tpac::ptx {
namespace {

using testing::HasSubstr;

/// A kernel of one parameter, `%rd1`, that points to memory; `%r1` is the thread.
std::string kernel(const std::string &body) {
  return R"(
.version 8.0
.target sm_90a
.address_size 64
.global .align 4 .b8 numbers[8] = {1, 0, 0, 0, 0xff, 2, 0, 0};
.extern .shared .align 1024 .b8 memory[];
.visible .entry test(
	.param .u64 .ptr .global .align 1 test_param_0
)
.maxntid 128
{
	.reg .pred %p<9>;
	.reg .b16 %h<9>;
	.reg .b32 %r<40>;
	.reg .b64 %rd<9>;
	ld.param.b64 %rd1, [test_param_0];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd2, %r1, 4;
	add.s64 %rd2, %rd1, %rd2; // this thread's number
	mov.b64 %rd3, memory;
)" + body +
         "\n\tret;\n}\n";
}

class Ptx : public testing::Test {
protected:
  /// Runs `body` with 64 threads (or `threads`) on `count` numbers, which are 0 to begin with.
  std::vector<uint32_t> run(const std::string &body, uint32_t threads = 64, size_t count = 64, uint32_t blocks = 1) {
    const Module module = load(kernel(body));
    auto *numbers = static_cast<uint32_t *>(memory.allocate(count * 4));
    for (const Global &global : module.globals)
      memory.add(global.begin(), global.bytes);
    std::vector<uint8_t> parameters(8);
    std::memcpy(parameters.data(), &numbers, sizeof(numbers));
    constexpr size_t sharedBytes = 4096;
    std::string message;
    std::vector<uint32_t> result;
    for (uint64_t seed = 0; seed < 8 && message.empty(); ++seed)
      try {
        std::fill_n(numbers, count, 0);
        execute(module.programs.at("test"), {blocks, threads, sharedBytes}, parameters, memory, seed);
        const std::vector<uint32_t> own(numbers, numbers + count);
        if (seed == 0)
          result = own;
        EXPECT_EQ(own, result) << "in another order";
      } catch (const Fault &fault) {
        message = fault.what();
      }
    memory.release(numbers);
    for (const Global &global : module.globals)
      memory.remove(global.begin());
    if (!message.empty())
      throw Fault(message);
    return result;
  }

  /// What is wrong with `body`.
  std::string fault(const std::string &body, uint32_t threads = 64) {
    try {
      run(body, threads);
    } catch (const std::runtime_error &error) {
      return error.what();
    }
    return "nothing";
  }

  GlobalMemory memory;
};

TEST_F(Ptx, LanesPartAndMeet) {
  // A lane goes round so often as its number says, then all vote.
  const std::string body = R"(
	and.b32 %r2, %r1, 31;
	mov.b32 %r3, 0;
LOOP:
	setp.ge.u32 %p1, %r3, %r2;
	@%p1 bra DONE;
	add.s32 %r3, %r3, 1;
	bra.uni LOOP;
DONE:
	setp.gt.u32 %p2, %r3, 15;
	vote.sync.ballot.b32 %r4, %p2, -1;
	shfl.sync.bfly.b32 %r5, %r3, 1, 31, -1;
	add.s32 %r4, %r4, %r5;
	st.global.b32 [%rd2], %r4;)";
  const std::vector<uint32_t> numbers = run(body);
  for (uint32_t thread = 0; thread < 64; ++thread)
    EXPECT_EQ(numbers[thread], 0xffff0000u + (thread % 32 ^ 1)) << thread;
}

TEST_F(Ptx, GuardsConstantsAndGlobals) {
  const std::vector<uint32_t> numbers = run(R"(
	ld.global.nc.b32 %r2, [numbers+4];
	setp.lt.s32 %p1, %r1, 3;
	mov.b32 %r3, 0f3FC00000;
	@%p1 mov.b32 %r3, -1;
	@!%p1 add.s32 %r3, %r3, %r2;
	st.global.b32 [%rd2], %r3;)");
  EXPECT_EQ(numbers[2], ~0u);
  EXPECT_EQ(numbers[3], std::bit_cast<uint32_t>(1.5f) + 0x2ff);
}

TEST_F(Ptx, BlocksAndPartsOfRegisters) {
  const std::vector<uint32_t> numbers = run(R"(
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %nctaid.x;
	mov.b64 %rd4, {%r2, %r3};
	mov.b64 {_, %r4}, %rd4;
	{ .reg .b32 low; mov.b64 {low, _}, %rd4; mad.lo.s32 %r5, low, 10, %r4; }
	mul.wide.u32 %rd5, %r2, 4;
	add.s64 %rd5, %rd5, %rd1;
	st.global.b32 [%rd5], %r5;)",
                                            /*threads=*/32, 64, /*blocks=*/3);
  EXPECT_EQ(numbers[0], 3u);
  EXPECT_EQ(numbers[2], 23u);
}

TEST_F(Ptx, ConversionsTakeTheLowerBitsOfWiderRegisters) {
  const std::vector<uint32_t> numbers = run(R"(
	mov.b64 %rd4, 0x1fffffffe;
	cvt.s64.s32 %rd5, %rd4;
	mov.b64 {%r2, %r3}, %rd5;
	setp.eq.s32 %p1, %r1, 0;
	selp.b32 %r4, %r2, %r3, %p1;
	st.global.b32 [%rd2], %r4;)");
  EXPECT_EQ(numbers[0], 0xfffffffeu);
  EXPECT_EQ(numbers[1], 0xffffffffu);
}

TEST_F(Ptx, MatricesAreTransposed) {
  // Element j of row i is 8 i + j.
  const std::vector<uint32_t> numbers = run(R"(
	and.b32 %r2, %r1, 31;
	mad.lo.s32 %r2, %r2, 0x20002, 0x10000;
	movmatrix.sync.aligned.m8n8.trans.b16 %r3, %r2;
	st.global.b32 [%rd2], %r3;)");
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t first = 8 * (2 * (lane % 4)) + lane / 4;
    EXPECT_EQ(numbers[lane], (first + 8) << 16 | first) << lane;
  }
}

/// bf16 of a small integer.
uint16_t bf16(int value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16); }

TEST_F(Ptx, MatricesAreMultiplied) {
  // A[i][k] = i + 1 where k = i, B[k][n] = k - n, both in shared memory as rows of 16 bytes.
  std::string body = R"(
	setp.gt.u32 %p1, %r1, 0;
	@%p1 bra FILLED;)";
  const auto put = [&](int byte, uint16_t value) {
    body += "\n\tmov.b32 %r2, " + std::to_string(value) + ";\n\tcvt.u16.u32 %h1, %r2;\n\tst.shared.b16 [%rd3+" +
            std::to_string(byte) + "], %h1;";
  };
  // Matrices of 8x8: rows 0-7 of columns 0-7, rows 8-15 of them, then columns 8-15; B transposed by halves of k.
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 16; ++k)
      put(128 * (i / 8 + k / 8 * 2) + 16 * (i % 8) + 2 * (k % 8), i == k ? bf16(i + 1) : 0);
  for (int k = 0; k < 16; ++k)
    for (int n = 0; n < 8; ++n)
      put(512 + 16 * k + 2 * n, bf16(k - n));
  body += R"(
FILLED:
	bar.warp.sync -1;
	mul.wide.u32 %rd4, %r1, 16;
	add.s64 %rd4, %rd4, %rd3;
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%rd4];
	ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r14, %r15, %r16, %r17}, [%rd4+512];
	mov.b32 %r20, 0f3F000000;
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r21, %r22, %r23, %r24}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%r20, %r20, %r20, %r20};
	mul.wide.u32 %rd5, %r1, 12;
	add.s64 %rd5, %rd2, %rd5;
	st.global.v4.b32 [%rd5], {%r21, %r22, %r23, %r24};)";
  const std::vector<uint32_t> numbers = run(body, 32, 128);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      EXPECT_EQ(std::bit_cast<float>(numbers[static_cast<size_t>(4 * lane + i)]), (row + 1) * (row - column) + 0.5f)
          << row << " " << column;
    }
}

// --- Barriers

/// Thread t writes number t of shared memory and reads that of the other warp.
std::string exchanged(const std::string &between) {
  return R"(
	mul.wide.u32 %rd4, %r1, 4;
	add.s64 %rd4, %rd4, %rd3;
	st.shared.b32 [%rd4], %r1;)" +
         between + R"(
	xor.b32 %r2, %r1, 32;
	mul.wide.u32 %rd5, %r2, 4;
	add.s64 %rd5, %rd5, %rd3;
	ld.shared.b32 %r3, [%rd5];
	st.global.b32 [%rd2], %r3;)";
}

TEST_F(Ptx, BarriersOrderWarps) {
  for (const char *barrier : {"\n\tbar.sync 0;", "\n\tbar.sync 3, 64;", R"(
	setp.eq.s32 %p1, %r1, 0;
	@%p1 mbarrier.init.shared.b64 [%rd3+1024], 64;
	bar.sync 1, 64;
	mbarrier.arrive.shared.b64 _, [%rd3+1024];
WAIT:
	mbarrier.try_wait.parity.shared.b64 %p2, [%rd3+1024], 0;
	@!%p2 bra WAIT;)"}) {
    const std::vector<uint32_t> numbers = run(exchanged(barrier));
    for (uint32_t thread = 0; thread < 64; ++thread)
      EXPECT_EQ(numbers[thread], thread ^ 32u);
  }
}

TEST_F(Ptx, SaysWhatNoBarrierOrders) {
  EXPECT_THAT(fault(exchanged("\n\tbar.warp.sync -1;")),
              testing::MatchesRegex("test, block 0, warp ., line .*.shared.b32.: race: shared memory at 0x.* is "
                                    ".* while nothing orders it behind what warp . did there"));
  // Writes of other values; the same one may be written by all.
  EXPECT_THAT(fault("\n\tst.shared.b32 [%rd3], %r1;"), HasSubstr("is written while nothing orders it"));
  EXPECT_EQ(fault("\n\tmov.b32 %r2, 7;\n\tst.shared.b32 [%rd3], %r2;"), "nothing");
}

TEST_F(Ptx, SaysWhereWarpsWaitForEver) {
  EXPECT_THAT(fault("\n\tbar.sync 2, 96;"), HasSubstr("no warp can go on:\n  warp 0 waits at line"));
  EXPECT_THAT(fault(R"(
	setp.eq.s32 %p1, %r1, 0;
	@%p1 mbarrier.init.shared.b64 [%rd3], 65;
	bar.sync 0;
	mbarrier.arrive.shared.b64 _, [%rd3];
WAIT:
	mbarrier.try_wait.parity.shared.b64 %p2, [%rd3], 0;
	@!%p2 bra WAIT;)"),
              HasSubstr("no warp can go on"));
  EXPECT_THAT(fault("\n\tsetp.lt.u32 %p1, %r1, 40;\n\t@%p1 bra A;\n\tbar.warp.sync -1;\n\tbra B;\nA:\n\tbar.warp.sync "
                    "-1;\nB:\n\tmov.b32 %r2, 0;"),
              HasSubstr("lanes of the warp wait for each other at different places"));
}

// --- Copies

/// Thread 0 copies 64 numbers to shared memory; `wait` by all.
std::string copied(const std::string &wait) {
  return R"(
	st.global.b32 [%rd2], %r1;
	setp.ne.s32 %p1, %r1, 0;
	@%p1 bra MADE;
	mbarrier.init.shared.b64 [%rd3+1024], 1;
MADE:
	bar.sync 0;
	@%p1 bra COPIED;
	mov.b64 %rd4, 0;
	mbarrier.arrive.expect_tx.shared.b64 _, [%rd3+1024], 256;
	cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%rd3], [%rd1], 256, [%rd3+1024], %rd4;
COPIED:)" +
         wait +
         R"(
	mul.wide.u32 %rd5, %r1, 4;
	add.s64 %rd5, %rd5, %rd3;
	ld.shared.b32 %r2, [%rd5];
	add.s32 %r2, %r2, 100;
	st.global.b32 [%rd2], %r2;)";
}

constexpr const char *untilCopied = R"(
WAIT:
	mbarrier.try_wait.parity.shared.b64 %p2, [%rd3+1024], 0;
	@!%p2 bra WAIT;)";

TEST_F(Ptx, BulkCopiesArriveWhenTheirBarrierSaysSo) {
  EXPECT_EQ(run(copied(untilCopied))[63], 163u);
  EXPECT_THAT(fault(copied("\n\tbar.sync 0;")),
              HasSubstr("is read while nothing orders it behind what a bulk copy did"));
}

TEST_F(Ptx, PlacesAreNotCopiedOverWhileTheyAreRead) {
  // The second copy does not wait for the other warp.
  const std::string again = R"(
	@%p1 bra END;
	mbarrier.arrive.expect_tx.shared.b64 _, [%rd3+1024], 256;
	cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%rd3], [%rd1], 256, [%rd3+1024], %rd4;
WAIT2:
	mbarrier.try_wait.parity.shared.b64 %p2, [%rd3+1024], 1;
	@!%p2 bra WAIT2;
END:)";
  EXPECT_THAT(fault(copied(untilCopied) + again), HasSubstr("is written by a bulk copy while nothing orders it"));
  EXPECT_EQ(fault(copied(untilCopied) + "\n\tbar.sync 0;" + again), "nothing");
}

TEST_F(Ptx, CopiesByLanesArriveWhenTheyAreWaitedFor) {
  const auto body = [](const std::string &wait) {
    return R"(
	st.global.b32 [%rd2], %r1;
	bar.warp.sync -1;
	setp.ne.s32 %p1, %r1, 0;
	@!%p1 cp.async.cg.shared.global [%rd3], [%rd1], 16;
	cp.async.commit_group;)" +
           wait + R"(
	ld.shared.b32 %r2, [%rd3+4];
	st.global.b32 [%rd2], %r2;
	cp.async.wait_group 0;)";
  };
  EXPECT_EQ(run(body("\n\tcp.async.wait_group 0;"), 32)[0], 1u);
  EXPECT_EQ(run(body("\n\tcp.async.wait_group 1;"), 32)[0], ~0u);
}

TEST_F(Ptx, CopiesByLanesAreWrittenWhenTheyAreWaitedFor) {
  // The barrier orders the other warp behind the copy's beginning, not behind its end.
  const auto body = [](const std::string &first, const std::string &second) {
    return R"(
	setp.ne.s32 %p1, %r1, 0;
	@!%p1 cp.async.cg.shared.global [%rd3], [%rd1], 16;
	cp.async.commit_group;)" +
           first + second + R"(
	ld.shared.b32 %r2, [%rd3+4];
	bar.sync 0;
	st.global.b32 [%rd2], %r2;)";
  };
  const std::string wait = "\n\tcp.async.wait_group 0;", barrier = "\n\tbar.sync 0;";
  EXPECT_EQ(fault(body(wait, barrier)), "nothing");
  EXPECT_THAT(fault(body(barrier, wait)), HasSubstr("race"));
  EXPECT_THAT(fault("\n\tcp.async.cg.shared.global [%rd3], [%rd1], 16;\n\tcp.async.commit_group;", 1),
              HasSubstr("a copy is under way when all threads have ended"));
}

TEST_F(Ptx, BarriersAreMadeBeforeTheyAreUsedAndStay) {
  const std::string make = R"(
	setp.ne.s32 %p1, %r1, 0;
	@!%p1 mbarrier.init.shared.b64 [%rd3+1024], 64;)";
  EXPECT_THAT(fault(make + "\n\tmbarrier.arrive.shared.b64 _, [%rd3+1024];"),
              testing::AnyOf(HasSubstr("no barrier was made"), HasSubstr("behind the making of its barrier")));
  EXPECT_THAT(fault(make + "\n\tbar.sync 0;\n\tst.shared.b32 [%rd3+1028], %r1;"),
              HasSubstr("writes over the barrier at 0x400"));
  EXPECT_THAT(fault(make + R"(
	bar.sync 0;
	mbarrier.arrive.shared.b64 _, [%rd3+1024];
	mbarrier.arrive.shared.b64 %rd5, [%rd3+1024];
WAIT:
	mbarrier.try_wait.shared.b64 %p2, [%rd3+1024], %rd5;
	@!%p2 bra WAIT;)"),
              "nothing");
}

// --- Bits

TEST_F(Ptx, BitsAndConversions) {
  const std::pair<const char *, uint32_t> cases[] = {
      {"mov.b32 %r3, 0x04030201; mov.b32 %r4, 0x88070605; prmt.b32 %r2, %r3, %r4, 0xf740;", 0xff880501},
      {"mov.b32 %r3, 0x12345678; bfe.u32 %r2, %r3, 8, 12;", 0x456},
      {"mov.b32 %r3, 0x80000000; bfe.s32 %r2, %r3, 28, 8;", 0xfffffff8},
      {"mov.b32 %r3, 0x00000f00; bfe.s32 %r2, %r3, 8, 4;", 0xffffffff},
      {"mov.b32 %r3, 1; mov.b32 %r4, 0x80000000; shf.l.wrap.b32 %r2, %r4, %r3, 1;", 3},
      {"mov.b32 %r3, 0f3F808000; cvt.rn.bf16x2.f32 %r2, %r3, 0f3F818000;", 0x3f803f82},
      {"mov.b32 %r3, 0f477FF000; cvt.rn.f16x2.f32 %r2, %r3, 0f33000001;", 0x7c000001},
      {"mov.b32 %r3, 0x3f803f80; mov.b32 %r4, 0x40004040; fma.rn.bf16x2 %r2, %r3, %r4, %r3;", 0x40404080},
      {"mov.b32 %r3, 0f00400000; add.rn.ftz.f32 %r2, %r3, %r3;", 0},
      {"mov.b32 %r3, 5; mov.b32 %r4, -7; min.s32 %r2, %r3, %r4;", 0xfffffff9},
      {"shfl.sync.idx.b32 %r2, %r1, 7, 31, -1;", 7},
      {"and.b32 %r3, %r1, 31; shfl.sync.up.b32 %r2, %r3, 31, 0, -1; vote.sync.any.pred %p1, 0, -1; selp.b32 %r2, 9, "
       "%r2, %p1;",
       0},
  };
  for (const auto &[instructions, expected] : cases)
    EXPECT_EQ(run(std::string("\n\t") + instructions + "\n\tst.global.b32 [%rd2], %r2;", 32)[0], expected)
        << instructions;
}

// --- Memory

TEST_F(Ptx, SaysWhatLiesOutside) {
  EXPECT_THAT(fault("\n\tst.global.b32 [%rd2+4], %r1;"), HasSubstr("line 22 (st.global.b32): 4 bytes at 0x"));
  EXPECT_THAT(fault("\n\tst.global.b32 [%rd2+4], %r1;"), HasSubstr("which nobody has allocated"));
  EXPECT_THAT(fault("\n\tld.shared.v2.b32 {%r2, %r3}, [%rd3+4096];"),
              HasSubstr("8 bytes at 0x1000 of 0x1000 bytes of shared"));
  EXPECT_THAT(fault("\n\tld.shared.v2.b32 {%r2, %r3}, [%rd3+4];"), HasSubstr("is no multiple of 8"));
  EXPECT_THAT(fault("\n\tmbarrier.arrive.shared.b64 _, [%rd3+8];"), HasSubstr("no barrier was made at 0x8"));
}

TEST_F(Ptx, NamesWhatIsNotUnderstood) {
  const auto refusal = [](const std::string &text) -> std::string {
    try {
      load(text);
    } catch (const ParseError &error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(refusal(kernel("\n\ttanh.approx.f32 %r1, %r2;")), "line 22: tanh.approx.f32: is not known here");
  EXPECT_EQ(refusal(kernel("\n\tadd.s32 %r1, %rd2, 1;")), "line 22: add.s32: register %rd2 has 8 bytes; expected 4");
  EXPECT_EQ(refusal(kernel("\n\tadd.s32 %r1, %q2, 1;")), "line 22: add.s32: operand '%q2' is not known");
  EXPECT_EQ(refusal(kernel("\n\tbra NOWHERE;")), "line 22: bra: label NOWHERE does not exist");
  EXPECT_EQ(refusal(".visible .entry f(\n)\n{ add.s32"), "line 3: found the end of the text; expected one of ';'");
}

} // namespace
} // namespace tpac::ptx
