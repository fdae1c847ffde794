// SPDX-License-Identifier: Apache-2.0
#include "client/status.h"

#include <cstddef>
#include <iterator>

namespace gcs {
namespace {

struct Name {
  std::int32_t status;
  const char* name;
};

constexpr Name kNames[] = {
    {0, "GCS_OK"},
    {-1, "GCS_INVALID_ARGUMENT"},
    {-2, "GCS_BAD_HANDLE"},
    {-3, "GCS_CLOSED"},
    {-4, "GCS_CANCELLED"},
    {-5, "GCS_DEADLINE"},
    {-6, "GCS_CONNECTION_LOST"},
    {-7, "GCS_CLUSTER_CHANGED"},
    {-8, "GCS_FORKED"},
    {-9, "GCS_ABI"},
    {-10, "GCS_NO_MEMORY"},
    {-11, "GCS_WOULD_DEADLOCK"},
    {-12, "GCS_NOT_FOUND"},
    {-13, "GCS_LIMIT"},
    {-14, "GCS_UNSUPPORTED"},
    {-15, "GCS_INTERRUPTED"},
    {-16, "GCS_INTERNAL"},
    {-17, "GCS_UNAVAILABLE"},
    {1, "CANCELLED"},
    {2, "UNKNOWN"},
    {3, "INVALID_ARGUMENT"},
    {4, "DEADLINE_EXCEEDED"},
    {5, "NOT_FOUND"},
    {6, "ALREADY_EXISTS"},
    {7, "PERMISSION_DENIED"},
    {8, "RESOURCE_EXHAUSTED"},
    {9, "FAILED_PRECONDITION"},
    {10, "ABORTED"},
    {11, "OUT_OF_RANGE"},
    {12, "UNIMPLEMENTED"},
    {13, "INTERNAL"},
    {14, "UNAVAILABLE"},
    {15, "DATA_LOSS"},
    {16, "UNAUTHENTICATED"},
    {1001, "RAY_OUT_OF_MEMORY"},
    {1002, "RAY_KEY_ERROR"},
    {1003, "RAY_TYPE_ERROR"},
    {1004, "RAY_INVALID"},
    {1005, "RAY_IO_ERROR"},
    {1009, "RAY_UNKNOWN_ERROR"},
    {1010, "RAY_NOT_IMPLEMENTED"},
    {1011, "RAY_REDIS_ERROR"},
    {1012, "RAY_TIMED_OUT"},
    {1013, "RAY_INTERRUPTED"},
    {1014, "RAY_INTENTIONAL_SYSTEM_EXIT"},
    {1015, "RAY_UNEXPECTED_SYSTEM_EXIT"},
    {1016, "RAY_CREATION_TASK_ERROR"},
    {1017, "RAY_NOT_FOUND"},
    {1018, "RAY_DISCONNECTED"},
    {1019, "RAY_SCHEDULING_CANCELLED"},
    {1020, "RAY_ALREADY_EXISTS"},
    {1021, "RAY_OBJECT_EXISTS"},
    {1022, "RAY_OBJECT_NOT_FOUND"},
    {1023, "RAY_OBJECT_ALREADY_SEALED"},
    {1024, "RAY_OBJECT_STORE_FULL"},
    {1025, "RAY_TRANSIENT_OBJECT_STORE_FULL"},
    {1026, "RAY_GRPC_UNAVAILABLE"},
    {1027, "RAY_GRPC_UNKNOWN"},
    {1028, "RAY_OUT_OF_DISK"},
    {1029, "RAY_OBJECT_UNKNOWN_OWNER"},
    {1030, "RAY_RPC_ERROR"},
    {1031, "RAY_OUT_OF_RESOURCE"},
    {1032, "RAY_OBJECT_REF_END_OF_STREAM"},
    {1033, "RAY_UNAUTHENTICATED"},
    {1034, "RAY_INVALID_ARGUMENT"},
    {1035, "RAY_CHANNEL_ERROR"},
    {1036, "RAY_CHANNEL_TIMEOUT_ERROR"},
    {1037, "RAY_PERMISSION_DENIED"},
    {1038, "RAY_GCS_PASSIVE"},
};

}  // namespace

const char* status_name(Status status) noexcept {
  for (const Name& entry : kNames) {
    if (entry.status == static_cast<std::int32_t>(status)) return entry.name;
  }
  return "UNKNOWN_STATUS";
}

bool status_at(std::size_t index, Status* status) noexcept {
  if (index >= std::size(kNames)) return false;
  *status = static_cast<Status>(kNames[index].status);
  return true;
}

}  // namespace gcs
