// SPDX-License-Identifier: Apache-2.0
//
// A runtime whose loop and connections are virtual, to be given to GcsClient::create(). It has no
// thread: whoever drives the loop is the I/O thread.
#pragma once

#include "client/runtime.h"
#include "virtual_transport.h"

namespace gcs::test {

class VirtualRuntime final : public Runtime {
 public:
  VirtualLoop& loop() noexcept override { return loop_; }
  VirtualConnector& connector() noexcept override { return connector_; }

 private:
  VirtualLoop loop_;
  VirtualConnector connector_{loop_};
};

}  // namespace gcs::test
