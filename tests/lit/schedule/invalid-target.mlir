// RUN: tpa-opt %s -tpa-select-schedule=target=vax -verify-diagnostics

// expected-error @below {{target 'vax' is not known; accepted: host}}
module {}
