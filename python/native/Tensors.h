// SPDX-License-Identifier: Apache-2.0
//
// Tensors of any framework, taken by DLPack and never copied.

#ifndef TPAC_PYTHON_TENSORS_H
#define TPAC_PYTHON_TENSORS_H

#include "Phases.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

namespace tpac::python {

/// Where kernels run, as DLPack numbers devices, and the stream of a GPU (of the driver; 0: the default stream) on
/// which they do: producers of tensors make it wait for what is still being written.
struct Place {
  int32_t deviceType, device;
  uintptr_t stream = 0;
  /// A function of a tensor that gives its capsule where no stream need wait, faster than the tensor itself; or None.
  nanobind::object exporter = nanobind::none();
};

/// A tensor for as long as a call needs it.
class BorrowedTensor {
public:
  /// Takes `object` as the tensor `described` of `phase`. Throws StatusError: the tensor's name, what was found, what
  /// is accepted.
  BorrowedTensor(const std::string &phase, const TensorDescription &described, nanobind::handle object,
                 const Place &place);

  void *data() const { return address; }
  /// In elements.
  const std::vector<int64_t> &strides() const { return steps; }
  const std::vector<int64_t> &shape() const { return extents; }

private:
  /// Keeps the memory alive.
  nanobind::ndarray<nanobind::ro> reader;
  nanobind::ndarray<> writer;
  void *address;
  std::vector<int64_t> extents, steps;
};

/// Memory that a caller gives as workspace: a contiguous tensor of any element type.
struct WorkspaceTensor {
  WorkspaceTensor(const std::string &phase, nanobind::handle object, const Place &place);
  nanobind::ndarray<> tensor;
  void *data;
  int64_t bytes;
};

} // namespace tpac::python

#endif // TPAC_PYTHON_TENSORS_H
