// SPDX-License-Identifier: Apache-2.0
//
// Replies that carry an error, or are odd: each ends its own call with a clear result.
#include "transport_fixture.h"

namespace gcs::test {
namespace {

TEST_F(ReplyTest, AnErrorStatusBringsItsMessageAndDetailsDecoded) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "ignored",
               {{"grpc-status", "10"},
                {"grpc-message", "na%C3%AFve 100%25 %zz"},
                {"grpc-status-details-bin", "AP/+"}});
  });
  expect(call, StatusCode::kAborted, Origin::kServer, "na\xC3\xAFve 100% %zz");
  EXPECT_EQ(call.result.details, std::string("\x00\xff\xfe", 3));
}

TEST_F(ReplyTest, TrailersAloneAreAReply) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream,
                      {{":status", "200"},
                       {"content-type", "application/grpc"},
                       {"grpc-status", "12"},
                       {"grpc-message", "unknown method Echo"}},
                      true);
  });
  expect(call, StatusCode::kUnimplemented, Origin::kServer, "unknown method Echo");
}

TEST_F(ReplyTest, AnUnknownStatusNumberIsUnknown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "x", {{"grpc-status", "17"}, {"grpc-message", "new"}});
  });
  expect(call, StatusCode::kUnknown, Origin::kServer, "new");
}

TEST_F(ReplyTest, AStatusThatIsNoNumberIsUnknownAndShown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "x", {{"grpc-status", "OK"}});
  });
  expect(call, StatusCode::kUnknown, Origin::kServer, "OK");
}

TEST_F(ReplyTest, HttpStatusesWithoutAGrpcStatusAreMapped) {
  const std::vector<std::pair<std::string, StatusCode>> table{
      {"400", StatusCode::kInternal},         {"401", StatusCode::kUnauthenticated},
      {"403", StatusCode::kPermissionDenied}, {"404", StatusCode::kUnimplemented},
      {"429", StatusCode::kUnavailable},      {"502", StatusCode::kUnavailable},
      {"503", StatusCode::kUnavailable},      {"504", StatusCode::kUnavailable},
      {"500", StatusCode::kUnknown},          {"302", StatusCode::kUnknown},
      {"204", StatusCode::kUnknown}};
  for (const auto& row : table) {
    const std::string& http = row.first;
    const StatusCode code = row.second;
    for (const bool with_body : {false, true}) {
      if (http == "204" && with_body) continue;
      SCOPED_TRACE(http);
      notes = Notes();
      calls.clear();
      const TestCall& call = call_answered_by([&](PeerConnection& peer, std::uint32_t stream) {
        peer.send_headers(stream, {{":status", http}, {"content-type", "text/html"}}, !with_body);
        if (with_body) peer.send_data(stream, "<html>", true);
      });
      expect(call, code, Origin::kPeer, "HTTP status " + http);
    }
  }
}

TEST_F(ReplyTest, AGrpcStatusWinsOverTheHttpStatus) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "503"}, {"grpc-status", "7"}, {"grpc-message", "no"}},
                      true);
  });
  expect(call, StatusCode::kPermissionDenied, Origin::kServer, "no");
}

TEST_F(ReplyTest, AnotherContentTypeIsUnknown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "200"}, {"content-type", "text/html"}}, false);
    peer.send_data(stream, "<html>", true);
  });
  expect(call, StatusCode::kUnknown, Origin::kPeer, "content-type");
}

TEST_F(ReplyTest, AContentTypeWithASuffixIsGrpc) {
  for (const char* type : {"application/grpc+proto", "application/grpc;charset=utf-8"}) {
    notes = Notes();
    calls.clear();
    const TestCall& call = call_answered_by([type](PeerConnection& peer, std::uint32_t stream) {
      peer.send_headers(stream, {{":status", "200"}, {"content-type", type}}, false);
      peer.send_data(stream, grpc_message("fine"), false);
      peer.send_headers(stream, {{"grpc-status", "0"}}, true);
    });
    EXPECT_TRUE(call.ok()) << call.result.message;
    EXPECT_EQ(call.reply(), "fine");
  }
}

TEST_F(ReplyTest, InformationalHeadersAreSkipped) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "103"}, {"link", "x"}}, false);
    peer.reply(stream, "fine");
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "fine");
}

TEST_F(ReplyTest, AMissingStatusIsUnknown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("x"), true);
  });
  expect(call, StatusCode::kUnknown, Origin::kPeer, "without a grpc-status");
}

TEST_F(ReplyTest, AStatusOutsideTheLastHeadersIsNone) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(
        stream, {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}},
        false);
    peer.send_data(stream, grpc_message("fine"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
}

TEST_F(ReplyTest, ResetsAreMapped) {
  const std::vector<std::pair<std::uint32_t, StatusCode>> table{
      {NGHTTP2_NO_ERROR, StatusCode::kInternal},
      {NGHTTP2_PROTOCOL_ERROR, StatusCode::kInternal},
      {NGHTTP2_INTERNAL_ERROR, StatusCode::kInternal},
      {NGHTTP2_FLOW_CONTROL_ERROR, StatusCode::kInternal},
      {NGHTTP2_FRAME_SIZE_ERROR, StatusCode::kInternal},
      {NGHTTP2_CANCEL, StatusCode::kCancelled},
      {NGHTTP2_ENHANCE_YOUR_CALM, StatusCode::kResourceExhausted},
      {NGHTTP2_INADEQUATE_SECURITY, StatusCode::kPermissionDenied},
      {77, StatusCode::kInternal}};
  for (const auto& [reset, code] : table) {
    SCOPED_TRACE(reset);
    notes = Notes();
    calls.clear();
    const TestCall& call =
        call_answered_by([reset = reset](PeerConnection& peer, std::uint32_t stream) {
          peer.send_reset(stream, reset);
        });
    expect(call, code, Origin::kPeer, "RST_STREAM");
  }
}

TEST_F(ReplyTest, ARefusedStreamNeverRan) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_reset(stream, NGHTTP2_REFUSED_STREAM);
  });
  EXPECT_EQ(call.result.code, StatusCode::kUnavailable);
  EXPECT_EQ(call.result.origin, Origin::kPeer);
  EXPECT_EQ(call.result.fate, Fate::kNeverRan);
  EXPECT_NE(call.result.message.find("REFUSED_STREAM"), std::string::npos);
}

TEST_F(ReplyTest, AResetBeforeTheWholeMessageWasSentNeverRanAndAfterItMayHaveRun) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet()) return;
    const auto first = self.next_headers();
    const auto second = self.next_headers();
    while (self.bytes_read() < 60'000 && self.read_frame()) {
    }
    if (!first || !second) return;
    self.send_reset(first->stream, NGHTTP2_CANCEL);
    self.send_reset(second->stream, NGHTTP2_CANCEL);
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  start(add_call(std::string(1 << 20, 'x')));
  connection->flush();
  ASSERT_TRUE(run_until([this] { return all_ended(); }));
  EXPECT_EQ(calls[0].result.code, StatusCode::kCancelled);
  EXPECT_EQ(calls[0].result.fate, Fate::kMayHaveRun);
  EXPECT_EQ(calls[1].result.code, StatusCode::kCancelled);
  EXPECT_EQ(calls[1].result.fate, Fate::kNeverRan);
}

TEST_F(ReplyTest, AnErrorStatusBeforeTheWholeMessageWasSentIsAReplyAllTheSame) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet()) return;
    const auto request = self.next_headers();
    if (!request) return;
    self.reply(request->stream, "", {{"grpc-status", "8"}, {"grpc-message", "too large"}});
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call(std::string(1 << 20, 'x')));
  ASSERT_TRUE(run_to_end(calls[0]));
  expect(calls[0], StatusCode::kResourceExhausted, Origin::kServer, "too large");
}

TEST_F(ReplyTest, AReplyAndAResetBeforeTheRequestWasSentAreANormalReply) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;  // the request stops at the initial window
    if (!self.greet()) return;
    const auto request = self.next_headers();
    if (!request) return;
    self.reply(request->stream, "early");
    self.send_reset(request->stream, NGHTTP2_NO_ERROR);
    self.credit_data = true;
    self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\1\0\0", 4));
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call(std::string(1 << 20, 'x'));
  call.share();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "early");
  TestCall& next = add_call("next");
  start(next);
  ASSERT_TRUE(run_to_end(next));
  EXPECT_TRUE(next.ok());
}

TEST_F(ReplyTest, ARequestThatWasAnsweredEarlyIsResetOnThisSide) {
  std::atomic<std::uint32_t> reset_code{0};
  ScriptedPeer peer([&](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet()) return;
    const auto request = self.next_headers();
    if (!request) return;
    self.reply(request->stream, "early");
    if (const auto code = self.next_reset(request->stream)) reset_code = *code;
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call(std::string(1 << 20, 'x')));
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
  ASSERT_TRUE(run_until([&] { return reset_code != 0; }));
  EXPECT_EQ(reset_code, static_cast<std::uint32_t>(NGHTTP2_CANCEL));
}

}  // namespace
}  // namespace gcs::test
