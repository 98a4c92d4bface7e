//===- HostDevice.h - functions for both sides of a device ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

/// Marks what CUDA kernels call too; nothing for another compiler than nvcc.
#if defined(__CUDACC__)
#define EVO_HOST_DEVICE __host__ __device__
#else
#define EVO_HOST_DEVICE
#endif
