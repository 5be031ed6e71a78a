// SPDX-License-Identifier: Apache-2.0
//
// tpac._native: the runtime's C ABI for the Python code beside it.

#include "Errors.h"
#include "Kernels.h"
#include "PagePool.h"

#include <nanobind/stl/string.h>

namespace nb = nanobind;
using namespace tpac::python;

NB_MODULE(_native, module) {
  // Packs and pools that live to the end of the process are no leaks.
  nb::set_leak_warnings(false);
  module.doc() = "The runtime's C ABI for the Python code of tpac.";

  nb::register_exception_translator([](const std::exception_ptr &thrown, void *) {
    try {
      std::rethrow_exception(thrown);
    } catch (const StatusError &error) {
      const nb::object exception = nb::module_::import_("tpac.errors").attr("exception_of")(error.status, error.what());
      PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(exception.ptr())), exception.ptr());
    }
  });

  module.def("runtime_version", &tpac_runtime_version, "Version of the runtime library that is compiled in.");
  module.attr("SPIN_NEVER") = TPAC_SPIN_NEVER;

  nb::class_<ThreadPool>(module, "ThreadPool", "Threads on which kernels run. Any number of packs may share one.")
      .def(nb::init<int32_t, bool, int64_t>(), nb::arg("threads") = 0, nb::kw_only(), nb::arg("pin") = false,
           nb::arg("spin_microseconds") = 0,
           "threads: the caller's included; 0: as many as CPUs are allowed. pin: binds each thread to a CPU. "
           "spin_microseconds: how long an idle thread spins before it sleeps; 0: 50; SPIN_NEVER.")
      .def_prop_ro("threads", [](const ThreadPool &pool) { return pool.executor()->concurrency; });

  nb::class_<tpac_cache_layout>(module, "CacheLayout", "How a device keeps the cache (tpac/pack.h).")
      .def_prop_ro("is_one_piece", [](const tpac_cache_layout &layout) { return layout.is_one_piece != 0; })
      .def_ro("page_size", &tpac_cache_layout::page_size)
      .def_ro("capacity_unit", &tpac_cache_layout::capacity_unit)
      .def_ro("token_bytes", &tpac_cache_layout::token_bytes);

  module.attr("CUDA") = static_cast<int>(TPAC_CUDA);
  nb::class_<Kernels>(module, "Kernels", "A pack opened, its kernels loaded for a device.")
      .def(nb::init<nb::bytes, nb::object, int32_t, int32_t>(), nb::arg("archive"), nb::arg("pool").none(),
           nb::arg("device_type") = static_cast<int32_t>(TPAC_CPU), nb::arg("device") = 0)
      .def(nb::init<const std::string &, nb::object, int32_t, int32_t>(), nb::arg("path"), nb::arg("pool").none(),
           nb::arg("device_type") = static_cast<int32_t>(TPAC_CPU), nb::arg("device") = 0)
      .def_prop_ro("name", &Kernels::name)
      .def_prop_ro("manifest", &Kernels::manifest)
      .def_prop_ro("target", &Kernels::target)
      .def_prop_ro("pool", &Kernels::threadPool)
      .def_prop_ro("cache_layout", &Kernels::cacheLayout)
      .def("workspace_size", &Kernels::workspaceSize, nb::arg("phase"), nb::arg("tokens"), nb::arg("batch"),
           nb::arg("capacity"))
      .def("run", &Kernels::run, nb::arg("phase"), nb::arg("tensors"), nb::arg("workspace"), nb::arg("stream") = 0,
           nb::arg("exporter") = nb::none());

  bindPagePool(module);
}
