// See cusolverDn.h.
#pragma once

enum cusolverStatus_t : int;
