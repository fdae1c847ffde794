// SPDX-License-Identifier: Apache-2.0
//
// What a refusal of the server turns into: Ray's own status codes by name, and methods that the
// server does not have.
#include "client_fixture.h"

namespace gcs::test {
namespace {

class ClientRefusals : public ClientTest {
 protected:
  const Event& refused(std::unique_ptr<Call> call, StatusCode code, const std::string& message,
                       const std::string& details = {}) {
    const std::uint64_t id = submit(std::move(call));
    peer().refuse(*peer().open_streams().at(0), code, message, details);
    return ended(id);
  }
};

TEST_F(ClientRefusals, AnAbortNamedAfterARayStatusIsThatStatus) {
  make_ready();
  const std::pair<const char*, std::int32_t> names[] = {
      {"Out of memory", 1},   {"Key error", 2},         {"Type error", 3},
      {"Invalid", 4},         {"IOError", 5},           {"Unknown error", 9},
      {"NotImplemented", 10}, {"TimedOut", 12},         {"NotFound", 17},
      {"AlreadyExists", 20},  {"OutOfDisk", 28},        {"GrpcUnavailable", 26},
      {"GrpcUnknown", 27},    {"Unauthenticated", 33},  {"InvalidArgument", 34},
      {"ChannelError", 35},   {"PermissionDenied", 37},
  };
  for (const auto& [name, code] : names) {
    const Event& event = refused(put_call("key"), StatusCode::kAborted, name, "Invalid channel: 7");
    EXPECT_EQ(event.status, ray_status(code)) << name;
    EXPECT_EQ(event.flags, 0u) << name;
    EXPECT_EQ(event.message(), "Invalid channel: 7");
    EXPECT_EQ(event.details(), "Invalid channel: 7");
  }
}

TEST_F(ClientRefusals, SoItIsForMethodsThatTheClientHasNeverHeardOf) {
  make_ready();
  const Event& event = refused(Call::make_by_path("/ray.rpc.New/Method"), StatusCode::kAborted,
                               "InvalidArgument", "no");
  EXPECT_EQ(event.status, ray_status(34));
  EXPECT_EQ(event.method(), "/ray.rpc.New/Method");
}

TEST_F(ClientRefusals, WithoutATextTheNameIsTheMessage) {
  make_ready();
  EXPECT_EQ(refused(get_call("a"), StatusCode::kAborted, "Key error").message(), "Key error");
  const std::string binary("\x08\x05\x12\xff", 4);
  const Event& event = refused(get_call("b"), StatusCode::kAborted, "Key error", binary);
  EXPECT_EQ(event.status, ray_status(2));
  EXPECT_EQ(event.message(), "Key error");
  EXPECT_EQ(event.details(), binary);
}

TEST_F(ClientRefusals, AnAbortWithAnotherMessageStaysOne) {
  make_ready();
  for (const char* message : {"", "OK", "invalidargument", "InvalidArgument: no", "keyerror"}) {
    const Event& event = refused(put_call("key"), StatusCode::kAborted, message, "a detail");
    EXPECT_EQ(event.status, grpc_status(10)) << message;
    EXPECT_EQ(event.flags, kFlagMaybeExecuted) << message;
  }
}

TEST_F(ClientRefusals, AnotherCodeWithSuchANameStaysWhatItIs) {
  make_ready();
  EXPECT_EQ(refused(put_call("key"), StatusCode::kInternal, "InvalidArgument").status,
            grpc_status(13));
}

TEST_F(ClientRefusals, WhatAnEarlierSendingMayHaveDoneIsStillSaid) {
  make_ready();
  auto call = put_call("key");
  call->retry = Retry::kAlways;
  const std::uint64_t id = submit(std::move(call));
  peer().refuse(stream_of(peer(), "key"), StatusCode::kUnavailable, "busy");
  loop().run();
  peer().refuse(stream_of(peer(), "key"), StatusCode::kAborted, "InvalidArgument", "no");
  EXPECT_EQ(ended(id).status, ray_status(34));
  EXPECT_EQ(ended(id).flags, kFlagMaybeExecuted);
}

TEST_F(ClientRefusals, APassiveGcsThatIsNotWaitedForIsThatInBothEncodings) {
  make_ready();
  auto call = put_call("key");
  call->wait_for_ready = 0;
  const Event& event =
      refused(std::move(call), StatusCode::kAborted, "GcsPassive", "the GCS is passive");
  EXPECT_EQ(event.status, ray_status(kRayGcsPassive));
  EXPECT_EQ(event.flags, kFlagRetryable);
  EXPECT_EQ(event.message(), "the GCS is passive");
}

TEST_F(ClientRefusals, AMethodThatTheServerLacksIsNamed) {
  make_ready();
  const Event& event =
      refused(Call::make_by_path("/ray.rpc.Old/Method"), StatusCode::kUnimplemented, "");
  EXPECT_EQ(event.status, grpc_status(12));
  EXPECT_EQ(event.method(), "/ray.rpc.Old/Method");
  EXPECT_EQ(event.message(), "the server has no such method");
}

TEST_F(ClientRefusals, OfAMethodThatTheServerLacksTheReleasesAreTold) {
  make_ready();
  const std::string path = "/ray.rpc.autoscaler.AutoscalerStateService/ReportClusterConfig";
  EXPECT_EQ(refused(Call::make_by_path(path), StatusCode::kUnimplemented, "").message(),
            "the server has no such method (Ray has it from 2.41 on)");
  EXPECT_EQ(refused(Call::make_by_path("/ray.rpc.JobInfoGcsService/ReportJobError"),
                    StatusCode::kUnimplemented, "")
                .message(),
            "the server has no such method (Ray had it from 2.9 to 2.55)");
  EXPECT_EQ(refused(Call::make_by_path(path), StatusCode::kUnimplemented, "unknown").message(),
            "unknown (Ray has it from 2.41 on)");
}

}  // namespace
}  // namespace gcs::test
