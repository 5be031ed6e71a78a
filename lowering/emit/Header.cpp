// SPDX-License-Identifier: Apache-2.0
//
// Writes a pack's C header from its signatures. What the phases check is not repeated here: see StatusChecks.cpp.

#include "lowering/emit/Header.h"

#include "lowering/emit/SignatureText.h"
#include "lowering/emit/StatusChecks.h"
#include "lowering/emit/VariantConstants.h"

#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <stdexcept>

namespace tpac {

namespace {

std::string upper(llvm::StringRef text) { return text.upper(); }

std::string phaseDescription(Phase phase) {
  switch (phase) {
  case Phase::append:
    return "New tokens enter the cache: token t of request b (token_start[b] <= t < token_start[b + 1]) goes to slot\n"
           " * lengths[b] + t - token_start[b]. Other slots keep their values. lengths is not changed: the caller "
           "adds\n"
           " * the new tokens to it before decode or prefill.";
  case Phase::decode:
    return "Attention of few query tokens per request over the cache. The queries stand at the end of their request's\n"
           " * cache, which holds their own keys and values already (lengths counts them). A row that sees nothing\n"
           " * gives out = 0 and lse = -infinity. Rows of no request are not written.";
  case Phase::prefill:
    return "Attention of many query tokens per request over the cache: the same mathematics as decode. The queries\n"
           " * stand at the end of their request's cache, which holds their own keys and values already (lengths "
           "counts\n"
           " * them). A row that sees nothing gives out = 0 and lse = -infinity. Rows of no request are not written.";
  case Phase::merge:
    return "Merges two attention results over disjoint sets of tokens, given with their natural logarithms of the sum\n"
           " * of exponentials. A side with lse = -infinity has weight 0; where both have it, out = 0.";
  case Phase::project:
    return "Factors of tokens from their hidden states: factor = hidden * transposed weight, summed in double.";
  case Phase::importCache:
    return "The first lengths[b] tokens of each request b, at most `tokens`, enter the cache from plain tensors as "
           "they "
           "are:\n * rotated and quantised as append would store them. Devices alone have this phase.";
  case Phase::exportCache:
    return "The first lengths[b] tokens of each request b, at most `tokens`, go from the cache to plain tensors as "
           "they "
           "are\n * stored. Other elements are not written. Devices alone have this phase.";
  }
  throw std::invalid_argument("phaseDescription: no such phase");
}

std::string sizeDescription(llvm::StringRef name, const PhaseSignature &signature) {
  const Phase phase = signature.phase;
  const bool isMove = phase == Phase::importCache || phase == Phase::exportCache;
  if (name == "tokens")
    return isMove                   ? "tokens that the plain tensors have for each request"
           : phase == Phase::append ? "new tokens of all requests together"
           : phase == Phase::merge  ? "rows of both states"
                                    : "query tokens of all requests together";
  if (name == "batch")
    return "requests";
  if (name == "capacity") {
    const int64_t unit = capacityUnit(signature);
    return "slots of the cache per request, in tokens" +
           (unit != 1 ? "; a multiple of " + std::to_string(unit) : std::string());
  }
  if (name == "pages")
    return "pages of the pools that the cache tensors are";
  if (name == llvm::StringRef(listedPagesName))
    return "page numbers in block_table where page_starts is given; else not looked at";
  return "run-time size";
}

/// Text that may stand inside a C comment.
std::string commentText(std::string text) {
  for (const char *delimiter : {"/*", "*/"})
    for (size_t position; (position = text.find(delimiter)) != std::string::npos;)
      text.insert(position + 1, " ");
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// `code` and a comment, on one line where that fits in 120 columns.
void addField(std::string &out, const std::string &code, const std::string &comment) {
  if (code.size() + comment.size() + 9 <= 120)
    out += "  " + code + " /* " + comment + " */\n";
  else
    out += "  /* " + comment + " */\n  " + code + "\n";
}

constexpr const char *libraryText =
    " * All memory is the caller's: no function keeps a pointer after it returns. Functions may run in\n"
    " * several threads at once as long as no call writes what another one reads or writes. An executor computes\n"
    " * the work items of a call on its threads, and results do not depend on how many it has: they are the same\n"
    " * bits as without one. Executor, argument block and memory must stay as they are until the call returns.\n";

constexpr const char *gpuText =
    " * Kernels for GPUs are run by tpac's runtime library (tpac/pack.h) with the argument blocks declared here: data\n"
    " * is memory of the device then. There a cache is one piece of memory in a layout of its own: data of all cache\n"
    " * tensors is its address, and their strides are NULL.\n";

/// What all packs' headers share; guarded, so that several can be included together.
constexpr const char *sharedDeclarations = R"(#ifndef TPAC_MUST_USE
#if defined(__cplusplus) && __cplusplus >= 201703L
#define TPAC_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define TPAC_MUST_USE __attribute__((warn_unused_result))
#else
#define TPAC_MUST_USE
#endif
#endif

#ifndef TPAC_TENSOR_DEFINED
#define TPAC_TENSOR_DEFINED
/* Memory of the caller. strides: one stride per dimension, in elements, 0 or more; NULL: contiguous, row-major. Data
 * of tensors marked `in` is only read; other data must not overlap. NULL data is accepted where the tensor is empty.
 * bf16, f16 and f8E4M3FN elements are bit patterns of 2, 2 and 1 bytes. */
typedef struct tpac_tensor {
  void *data;
  const int64_t *strides;
} tpac_tensor;
/* Fails to compile where pointers are not 8 bytes: argument blocks are made of 8-byte words. */
typedef char tpac_pointers_are_8_bytes[sizeof(void *) == 8 ? 1 : -1];
#endif

#ifndef TPAC_EXECUTOR_DEFINED
#define TPAC_EXECUTOR_DEFINED
/* How a kernel runs its work items. `run` calls task(argument, index) once for each index in 0 .. count-1, possibly at
 * the same time from several threads, and returns when all have returned. Items do not wait for one another, so one
 * thread may run them all. What was written before `run` is visible to every item, and what items wrote is visible
 * after it. */
typedef struct tpac_executor {
  void *context;
  int32_t concurrency; /* threads that may run at once, the caller's included */
  void (*run)(void *context, void (*task)(void *argument, int64_t index), void *argument, int64_t count);
} tpac_executor;
#endif

)";

/// What the function that gives a workspace's size says about workspaces.
std::string workspaceText(const std::string &prefix, const PhaseSignature &signature) {
  const std::string function = functionName(prefix, signature.phase);
  return "/* Bytes of the workspace with which " + function +
         " splits the caches of its requests into parts of at\n * most " + std::to_string(signature.split) +
         " tokens, so that few long requests keep many threads busy; 0 where `capacity` is one part, and for "
         "sizes\n"
         " * out of range. The workspace is the caller's, aligned to " +
         std::to_string(workspaceAlignment) +
         " bytes; what it holds before and after a call\n"
         " * means nothing. Calls that run at the same time need one each. Parts have a fixed size: with a workspace "
         "as\n"
         " * without one, results do not depend on the executor and its threads. With and without a workspace they "
         "may\n"
         " * differ in the last bits. */\nint64_t " +
         workspaceSizeName(prefix, signature.phase) + "(int64_t tokens, int64_t batch, int64_t capacity);\n\n";
}

/// What scratch is for.
std::string scratchText(const std::string &prefix, const PhaseSignature &signature) {
  const std::string function = functionName(prefix, signature.phase);
  const std::string bytes = std::to_string(signature.scratch);
  return "/* Scratch of " + function + ": tiles of a work item, " + bytes +
         " bytes for each thread, in the caller's memory, aligned to\n * " + std::to_string(workspaceAlignment) +
         " bytes; what it holds before and after a call means nothing. No more threads of the executor compute than "
         "there\n * is scratch for. With it, a thread needs no more than 256 KiB of stack; without it, that and " +
         bytes +
         " bytes more.\n * Results are the same bits with any scratch and without. Calls that run at the same time "
         "need "
         "scratch of their own. */\n\n";
}

std::string cpuLevelText(const std::string &prefix, const std::vector<std::string> &targets) {
  std::string text = "/* Which of the pack's targets (";
  for (const std::string &target : targets)
    text += (&target == &targets.front() ? "" : ", ") + target;
  return text +
         ") this machine runs, or \"none\"; not to be freed. CPU levels\n * are tried from the highest, at the first "
         "call of any function of the pack: the highest one that the CPU and\n * the operating system allow is taken. "
         "The environment variable TPAC_CPU_LEVEL (such as x86-64-v3) bounds the\n * choice. */\nconst char *" +
         cpuLevelName(prefix) + "(void);\n\n";
}

/// What the library's function of a phase promises.
std::string functionText(const std::string &prefix, const PhaseSignature &signature) {
  const std::string function = functionName(prefix, signature.phase);
  std::string text = "/* " + phaseDescription(signature.phase) + "\n * Returns 0, or a status (" + prefix +
                     "_status_message) where an argument is refused; then nothing was written. */\n";
  text += "TPAC_MUST_USE int32_t " + function + "(const " + function + "_args *args);\n\n";
  if (signature.split > 0)
    text += workspaceText(prefix, signature);
  if (signature.scratch > 0)
    text += scratchText(prefix, signature);
  return text;
}

/// Argument block of a phase, and its function where the pack has a library.
std::string phaseText(const std::string &prefix, const Pack &pack, const PhaseSignature &signature) {
  const bool isMove = signature.phase == Phase::importCache || signature.phase == Phase::exportCache;
  const bool splitsOnGpu = pack.gpu && isAttention(signature.phase);
  const std::string function = functionName(prefix, signature.phase);
  std::string text = "/* Arguments of " + function + ". */\ntypedef struct " + function + "_args {\n";
  addField(text, "int64_t struct_size;", "sizeof(" + function + "_args)");
  for (const std::string &size : signature.sizes)
    addField(text, "int64_t " + size + ";", sizeDescription(size, signature));
  for (const PhaseTensor &tensor : signature.tensors) {
    std::string comment =
        std::string(accessName(tensor.access)) + (tensor.isOptional ? ", optional, " : ", ") + tensorText(tensor);
    if (!tensor.description.empty())
      comment += ": " + commentText(tensor.description);
    addField(text, "tpac_tensor " + tensor.name + ";", comment);
  }
  if (!isMove)
    addField(text, "const tpac_executor *executor;", "runs the work items; NULL: the calling thread does");
  if (signature.split > 0)
    addField(text, "void *workspace;",
             "for parts of split caches, see below; NULL: caches are not split" +
                 std::string(splitsOnGpu ? "; GPUs need one" : ""));
  else if (splitsOnGpu)
    addField(text, "void *workspace;", "GPUs need one; CPUs take no notice of it");
  else if (signature.scratch > 0)
    addField(text, "void *workspace;", "not read: no cache is split");
  if (signature.split > 0 || splitsOnGpu || signature.scratch > 0)
    addField(text, "int64_t workspace_size;", "bytes of it");
  if (signature.scratch > 0) {
    addField(text, "void *scratch;", "for tiles, see below; NULL: they are on the stack");
    addField(text, "int64_t scratch_size;", "bytes of it, " + std::to_string(signature.scratch) + " per thread");
  }
  text += "} " + function + "_args;\n\n";
  if (isMove || pack.targets.empty())
    return text + "/* " + phaseDescription(signature.phase) + " */\n\n";
  return text + functionText(prefix, signature);
}

} // namespace

llvm::Expected<std::string> headerText(const Pack &pack) {
  const std::string prefix = symbolName(pack.name);
  auto constants = variantConstants(pack);
  if (!constants)
    return constants.takeError();

  std::string text = "/* Kernel pack " + pack.name + ": Tensor Product Attention, compiled by tpac. Generated.\n *\n";
  if (!pack.targets.empty())
    text += libraryText;
  if (pack.gpu)
    text += gpuText;
  text +=
      " * C99 or later, C++17 or later. Set struct_size and every other field of an argument block. A block may end\n"
      " * (struct_size) behind its last tensor: fields behind that end count as NULL and 0.\n"
      " */\n";
  const std::string guard = "TPAC_PACK_" + upper(prefix) + "_H";
  text += "#ifndef " + guard + "\n#define " + guard + "\n\n#include <stdint.h>\n\n";
  text += sharedDeclarations;

  text += "enum {\n";
  for (const VariantConstant &constant : *constants)
    if (constant.value.find_first_of(".eE") == std::string::npos)
      addField(text, upper(prefix) + "_" + constant.name + " = " + constant.value + ",", constant.description);
  addField(text, upper(prefix) + "_PACK_FORMAT = " + std::to_string(packFormatVersion), "version of this layout");
  text += "};\n";
  for (const VariantConstant &constant : *constants)
    if (constant.value.find_first_of(".eE") != std::string::npos)
      text += "#define " + upper(prefix) + "_" + constant.name + " " + constant.value + " /* " + constant.description +
              " */\n";

  text += "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
  if (!pack.targets.empty()) {
    text += "/* Text of a status: never NULL, not to be freed. */\nconst char *" + prefix +
            "_status_message(int32_t status);\n\n";
    text += cpuLevelText(prefix, pack.targets);
  }
  for (const PhaseSignature &signature : pack.signatures)
    text += phaseText(prefix, pack, signature);
  if (pack.gpu)
    for (const PhaseSignature &move : pack.gpu->moves)
      text += phaseText(prefix, pack, move);
  text += "#ifdef __cplusplus\n}\n#endif\n\n#endif /* " + guard + " */\n";
  return text;
}

} // namespace tpac
