// SPDX-License-Identifier: Apache-2.0
//
// A pack and its kernels for one device, and the thread pool on which they run.

#ifndef TPAC_PYTHON_KERNELS_H
#define TPAC_PYTHON_KERNELS_H

#include "Phases.h"
#include "tpac/executor.h"
#include "tpac/pack.h"

#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tpac::python {

template <typename T> using Handle = std::unique_ptr<T, void (*)(T *)>;

class ThreadPool {
public:
  ThreadPool(int32_t threads, bool pin, int64_t spinMicroseconds);
  const tpac_executor *executor() const { return tpac_thread_pool_executor(pool.get()); }

private:
  Handle<tpac_thread_pool> pool{nullptr, tpac_thread_pool_destroy};
};

/// Pieces of memory for calls without a workspace of their own, and for tiles. As many as calls ran at once; each as
/// large as the largest that was asked for.
class WorkspaceCache {
public:
  struct Piece {
    std::vector<std::byte> memory;
    /// `bytes` of it, aligned as packs ask for; nullptr for 0 bytes.
    void *aligned(int64_t bytes);
  };
  Piece take();
  void giveBack(Piece piece);

private:
  std::mutex mutex;
  std::vector<Piece> pieces;
};

class Kernels {
public:
  /// `source`: a path, or the bytes of an archive. `pool`: of the CPU's kernels, a ThreadPool or None.
  Kernels(const std::string &path, nanobind::object pool, int32_t deviceType, int32_t device);
  Kernels(nanobind::bytes archive, nanobind::object pool, int32_t deviceType, int32_t device);

  std::string name() const { return tpac_pack_name(pack.get()); }
  std::string manifest() const { return tpac_pack_manifest(pack.get()); }
  std::string target() const { return tpac_kernels_target(kernels.get()); }
  nanobind::object threadPool() const { return pool; }
  const tpac_cache_layout &cacheLayout() const { return layout; }

  int64_t workspaceSize(const std::string &phase, int64_t tokens, int64_t batch, int64_t capacity) const;

  /// Runs a phase on tensors by name (and `capacity`, a number, where no tensor says it), without the GIL, on a GPU on
  /// `stream`. workspace: a tensor; a function of a number of bytes that makes one; true: memory of this object, on the
  /// CPU; false: none. exporter: Place's.
  void run(const std::string &phase, nanobind::dict tensors, nanobind::object workspace, uintptr_t stream,
           nanobind::object exporter);

private:
  void load();
  const PhaseDescription &find(const std::string &phase) const;

  Handle<tpac_pack> pack{nullptr, tpac_pack_close};
  Handle<tpac_kernels> kernels{nullptr, tpac_kernels_destroy};
  int32_t deviceType, device;
  tpac_cache_layout layout = {};
  std::vector<PhaseDescription> phases;
  /// A ThreadPool, or None.
  nanobind::object pool;
  const tpac_executor *executor = nullptr;
  WorkspaceCache workspaces, scratchPieces;
  /// Of a call: for the large tiles of all threads.
  int64_t scratchBytes = 0;
};

} // namespace tpac::python

#endif // TPAC_PYTHON_KERNELS_H
