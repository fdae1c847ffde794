// SPDX-License-Identifier: Apache-2.0
//
// The pure parts: addresses, gRPC's text forms, code tables, and what a peer's first bytes say.
#include <gtest/gtest.h>

#include "transport/address.h"
#include "transport/first_bytes.h"
#include "transport/grpc_text.h"
#include "transport/system_error.h"

namespace gcs::transport {
namespace {

TEST(AddressTest, AddressesAreParsedAndWrittenBack) {
  struct Case {
    const char* text;
    const char* host;
    int port;
  };
  for (const Case& each :
       {Case{"127.0.0.1:6379", "127.0.0.1", 6379}, Case{"localhost:1", "localhost", 1},
        Case{"[::1]:65535", "::1", 65535}, Case{"a-b.c_d.example.:80", "a-b.c_d.example.", 80},
        Case{"[fe80::1%eth0]:6379", "fe80::1%eth0", 6379},
        Case{"ray-head-0.ns.svc:6379", "ray-head-0.ns.svc", 6379}}) {
    std::string error;
    const auto address = Address::parse(each.text, &error);
    ASSERT_TRUE(address) << each.text << ": " << error;
    EXPECT_EQ(address->host, each.host);
    EXPECT_EQ(address->port, each.port);
    EXPECT_EQ(address->text(), each.text);
  }
}

TEST(AddressTest, WhatCannotBeAnAddressIsRefusedWithAReason) {
  struct Case {
    std::string text;
    const char* reason;
  };
  const std::vector<Case> cases{{"", "empty"},
                                {"localhost", "no port"},
                                {"localhost:", "port"},
                                {":6379", "no host"},
                                {"localhost:0", "1 to 65535"},
                                {"localhost:65536", "1 to 65535"},
                                {"localhost:99999999999", "1 to 65535"},
                                {"localhost:-1", "1 to 65535"},
                                {"localhost:+1", "1 to 65535"},
                                {"localhost:12a", "1 to 65535"},
                                {"local host:1", "white space"},
                                {" localhost:1", "white space"},
                                {"localhost:1\n", "white space"},
                                {std::string("a\0b:1", 5), "control character"},
                                {"ray://localhost:1", "scheme"},
                                {"http://localhost:1", "scheme"},
                                {"::1:6379", "brackets"},
                                {"[::1]", "no port"},
                                {"[::1]6379", "no port"},
                                {"[::1:6379", "not closed"},
                                {"[nonsense]:1", "no IPv6"},
                                {"[]:1", "no IPv6"},
                                {"[::1%]:1", "no IPv6"},
                                {"1.2.3.400:1", "no IPv4"},
                                {"1.2.3:1", "no IPv4"},
                                {"a..b:1", "no name"},
                                {".a:1", "no name"},
                                {"user@host:1", "no name"},
                                {"h\xc3\xb6st:1", "no name"},
                                {std::string(64, 'a') + ":1", "no name"},
                                {std::string(300, 'a') + ":1", "no name"}};
  for (const Case& each : cases) {
    std::string error;
    EXPECT_FALSE(Address::parse(each.text, &error)) << each.text;
    EXPECT_NE(error.find(each.reason), std::string::npos) << each.text << ": " << error;
  }
}

TEST(AddressTest, ARefusalNeverRepeatsWhatWasRefused) {
  std::string error;
  EXPECT_FALSE(Address::parse("user:secret@host:1", &error));
  EXPECT_EQ(error.find("secret"), std::string::npos);
  EXPECT_FALSE(Address::parse("secret@host:1", &error));
  EXPECT_EQ(error.find("secret"), std::string::npos);
  EXPECT_FALSE(Address::parse("x", nullptr));
}

TEST(GrpcTextTest, PercentEscapesAreDecodedAndMalformedOnesKept) {
  const std::vector<std::pair<std::string, std::string>> table{{"", ""},
                                                               {"plain", "plain"},
                                                               {"%41%42", "AB"},
                                                               {"a%20b", "a b"},
                                                               {"%e4%BD%a0", "\xe4\xbd\xa0"},
                                                               {"%", "%"},
                                                               {"%4", "%4"},
                                                               {"100%", "100%"},
                                                               {"%zz", "%zz"},
                                                               {"%4g%41", "%4gA"},
                                                               {"%25%32", "%2"},
                                                               {"%%41", "%A"},
                                                               {"%00", std::string(1, '\0')}};
  for (const auto& [encoded, decoded] : table)
    EXPECT_EQ(percent_decode(encoded), decoded) << encoded;
}

TEST(GrpcTextTest, Base64IsDecodedWithAndWithoutPadding) {
  const std::vector<std::pair<std::string, std::string>> table{{"", ""},
                                                               {"Zg", "f"},
                                                               {"Zg==", "f"},
                                                               {"Zm8", "fo"},
                                                               {"Zm8=", "fo"},
                                                               {"Zm9v", "foo"},
                                                               {"Zm9vYg", "foob"},
                                                               {"Zm9vYmE=", "fooba"},
                                                               {"Zm9vYmFy", "foobar"},
                                                               {"+/+/", "\xfb\xff\xbf"}};
  for (const auto& [encoded, decoded] : table) {
    ASSERT_TRUE(base64_decode(encoded)) << encoded;
    EXPECT_EQ(*base64_decode(encoded), decoded) << encoded;
  }
  for (const char* malformed :
       {"Z", "Zg=", "Zg===", "Zm9v=", "Z=g=", "Zm 9v", "-_-_", "Zm9vY", "===="}) {
    EXPECT_FALSE(base64_decode(malformed)) << malformed;
  }
}

TEST(GrpcTextTest, StatusNumbersAreParsed) {
  EXPECT_EQ(parse_grpc_status("0"), StatusCode::kOk);
  EXPECT_EQ(parse_grpc_status("16"), StatusCode::kUnauthenticated);
  EXPECT_EQ(parse_grpc_status("007"), StatusCode::kPermissionDenied);
  EXPECT_EQ(parse_grpc_status("17"), StatusCode::kUnknown);
  EXPECT_EQ(parse_grpc_status("99999999999999999999"), StatusCode::kUnknown);
  for (const char* malformed : {"", "-1", "+1", " 1", "1 ", "0x1", "OK"}) {
    EXPECT_FALSE(parse_grpc_status(malformed)) << malformed;
  }
}

TEST(GrpcTextTest, TimeoutsHaveAtMostEightDigitsAndRoundUp) {
  const std::vector<std::pair<std::int64_t, std::string>> table{
      {-5, "1n"},
      {0, "1n"},
      {1, "1n"},
      {99'999'999, "99999999n"},
      {100'000'000, "100000u"},
      {100'000'001, "100001u"},
      {60'000'000'000, "60000000u"},
      {99'999'999'000, "99999999u"},
      {99'999'999'001, "100000m"},
      {3'600'000'000'000, "3600000m"},
      {100'000'000'000'000, "100000S"},
      {99'999'999'000'000'001, "1666667M"},
      {std::numeric_limits<std::int64_t>::max(), "153722868M"}};
  for (const auto& [nanoseconds, text] : table) {
    if (nanoseconds == std::numeric_limits<std::int64_t>::max()) {
      EXPECT_EQ(TimeoutText(nanoseconds).view(), "2562048H");
    } else {
      EXPECT_EQ(TimeoutText(nanoseconds).view(), text);
    }
  }
}

TEST(GrpcTextTest, Http2ErrorsHaveNames) {
  EXPECT_EQ(http2_error_name(0), "NO_ERROR");
  EXPECT_EQ(http2_error_name(11), "ENHANCE_YOUR_CALM");
  EXPECT_EQ(http2_error_name(13), "HTTP_1_1_REQUIRED");
  EXPECT_EQ(http2_error_name(14), "error 14");
}

TEST(GrpcTextTest, APeersTextIsCutAndFreedOfControlCharacters) {
  EXPECT_EQ(printable("a\nb\x1b[0m\x7f"), "a?b?[0m?");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
}

TEST(GrpcTextTest, SystemErrorsAndDurationsReadInsideASentence) {
  EXPECT_EQ(system_error_text(ECONNREFUSED), "connection refused");
  EXPECT_EQ(seconds_text(5'000'000'000), "5 s");
  EXPECT_EQ(seconds_text(250'000'000), "0.25 s");
}

struct FirstBytesCase {
  std::string bytes;
  FirstBytes::Verdict verdict;
  const char* text;
};

std::vector<FirstBytesCase> first_bytes_cases() {
  using Verdict = FirstBytes::Verdict;
  return {{std::string("\0\0\x06\4\0\0\0\0\0", 9), Verdict::kHttp2, ""},
          {std::string("\0\0\0\4\0\x80\0\0\0", 9), Verdict::kHttp2, ""},
          {std::string("\0\0\6\4", 4), Verdict::kUndecided, ""},
          {"", Verdict::kUndecided, ""},
          {"HTTP", Verdict::kUndecided, ""},
          {"HTTP/1.1 505", Verdict::kOther, "HTTP/1.1"},
          {"HTTQ", Verdict::kOther, "not HTTP/2 (48 54 54 51)"},
          {"\x15", Verdict::kUndecided, ""},
          {"\x15\x03\x01", Verdict::kOther, "TLS"},
          {"\x16\x03\x03", Verdict::kOther, "TLS"},
          {"\x15\x04", Verdict::kOther, "not HTTP/2 (15 04)"},
          {std::string("\0\0\6\4\1\0\0\0\0", 9), Verdict::kOther, "not HTTP/2"},  // an ACK
          {std::string("\0\0\6\1\0\0\0\0\0", 9), Verdict::kOther, "not HTTP/2"},  // HEADERS
          {std::string("\0\0\6\4\0\0\0\0\1", 9), Verdict::kOther, "not HTTP/2"},  // stream 1
          {std::string("\1\0\0\4\0\0\0\0\0", 9), Verdict::kOther, "not HTTP/2"},
          {"-ERR unknown command", Verdict::kOther, "not HTTP/2 (2d)"}};
}

TEST(FirstBytesTest, TheVerdictDoesNotDependOnHowTheBytesWereCut) {
  for (const FirstBytesCase& each : first_bytes_cases()) {
    const std::span<const std::uint8_t> all(
        reinterpret_cast<const std::uint8_t*>(each.bytes.data()), each.bytes.size());
    FirstBytes whole;
    std::span<const std::uint8_t> rest = all;
    EXPECT_EQ(whole.take(rest), each.verdict) << each.bytes;
    FirstBytes cut;
    FirstBytes::Verdict verdict = FirstBytes::Verdict::kUndecided;
    for (const std::uint8_t& byte : all) {
      std::span<const std::uint8_t> one(&byte, 1);
      if (verdict == FirstBytes::Verdict::kUndecided) verdict = cut.take(one);
    }
    EXPECT_EQ(verdict, each.verdict) << each.bytes;
    if (verdict == FirstBytes::Verdict::kOther) {
      EXPECT_EQ(whole.description(), cut.description());
      EXPECT_NE(whole.description().find(each.text), std::string::npos) << whole.description();
    }
    if (verdict == FirstBytes::Verdict::kHttp2) {
      EXPECT_EQ(std::string(whole.taken().begin(), whole.taken().end()), each.bytes.substr(0, 9));
      EXPECT_EQ(rest.size(), each.bytes.size() - 9);
    }
  }
}

}  // namespace
}  // namespace gcs::transport
