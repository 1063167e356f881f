package cuda

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
)

// code is what is known of a CUresult.
type code struct {
	name, advice string
	is           error
}

// Advice that several codes share.
const (
	again   = "the process has to be started again, nothing that was stored is lost"
	strange = "nothing that kvferry does should cause this: report it, with the driver's version"
	capture = "the engine's stream capture got in the way: capture no copies of kvferry's into a graph, and hand in no stream that is being captured"
	mps     = "look at the Multi-Process Service: its daemon, its limits and its log"
)

// codes are all of cuda.h 13, whose numbers never change; a test compares.
var codes = map[int]code{
	1:   {"CUDA_ERROR_INVALID_VALUE", "an argument is out of range: an address, a length or a size that the driver does not accept", kvferry.ErrInvalid},
	2:   {"CUDA_ERROR_OUT_OF_MEMORY", "device or pinned memory is used up: free some, or ask for less", kvferry.ErrOutOfMemory},
	3:   {"CUDA_ERROR_NOT_INITIALIZED", "the driver did not start: cuda.Status says why", kvferry.ErrNoDevice},
	4:   {"CUDA_ERROR_DEINITIALIZED", "the driver is shutting down with the process", kvferry.ErrDeviceLost},
	5:   {"CUDA_ERROR_PROFILER_DISABLED", strange, kvferry.ErrUnsupported},
	6:   {"CUDA_ERROR_PROFILER_NOT_INITIALIZED", strange, kvferry.ErrUnsupported},
	7:   {"CUDA_ERROR_PROFILER_ALREADY_STARTED", strange, kvferry.ErrUnsupported},
	8:   {"CUDA_ERROR_PROFILER_ALREADY_STOPPED", strange, kvferry.ErrUnsupported},
	34:  {"CUDA_ERROR_STUB_LIBRARY", "the toolkit's stub was found instead of the driver: take the folder stubs out of LD_LIBRARY_PATH", kvferry.ErrNoDevice},
	36:  {"CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER", "the driver is too old for this call: update it", kvferry.ErrUnsupported},
	46:  {"CUDA_ERROR_DEVICE_UNAVAILABLE", "another process has the GPU for itself: look at its compute mode with nvidia-smi", kvferry.ErrNoDevice},
	100: {"CUDA_ERROR_NO_DEVICE", "no GPU is visible: check nvidia-smi, CUDA_VISIBLE_DEVICES, and the container's --gpus or NVIDIA_VISIBLE_DEVICES", kvferry.ErrNoDevice},
	101: {"CUDA_ERROR_INVALID_DEVICE", "there is no such GPU, or this process may not use it: check CUDA_VISIBLE_DEVICES and the container's devices", kvferry.ErrNoDevice},
	102: {"CUDA_ERROR_DEVICE_NOT_LICENSED", "the virtual GPU has no licence: check its licence server", kvferry.ErrNoDevice},
	200: {"CUDA_ERROR_INVALID_IMAGE", "the compiled kernel is damaged: empty the pipeline cache", kvferry.ErrInvalid},
	201: {"CUDA_ERROR_INVALID_CONTEXT", "the call does not fit the device's primary context, or that is gone: nobody may reset the device while it is open here", kvferry.ErrInvalid},
	202: {"CUDA_ERROR_CONTEXT_ALREADY_CURRENT", strange, kvferry.ErrUnsupported},
	205: {"CUDA_ERROR_MAP_FAILED", "the memory could not be mapped for the device", kvferry.ErrOutOfMemory},
	206: {"CUDA_ERROR_UNMAP_FAILED", "the memory could not be unmapped: something may still use it", kvferry.ErrInvalid},
	207: {"CUDA_ERROR_ARRAY_IS_MAPPED", strange, kvferry.ErrUnsupported},
	208: {"CUDA_ERROR_ALREADY_MAPPED", "the memory is mapped already", kvferry.ErrExists},
	209: {"CUDA_ERROR_NO_BINARY_FOR_GPU", "the kernel was compiled for another GPU: kvferry's need compute capability 8.0 or later", kvferry.ErrUnsupported},
	210: {"CUDA_ERROR_ALREADY_ACQUIRED", strange, kvferry.ErrUnsupported},
	211: {"CUDA_ERROR_NOT_MAPPED", "the memory is not mapped for the device", kvferry.ErrInvalid},
	212: {"CUDA_ERROR_NOT_MAPPED_AS_ARRAY", strange, kvferry.ErrUnsupported},
	213: {"CUDA_ERROR_NOT_MAPPED_AS_POINTER", "the memory is not mapped for the device", kvferry.ErrInvalid},
	214: {"CUDA_ERROR_ECC_UNCORRECTABLE", "the GPU's memory has an error that it could not correct: " + again + "; nvidia-smi -q -d ECC says more", kvferry.ErrDeviceLost},
	215: {"CUDA_ERROR_UNSUPPORTED_LIMIT", strange, kvferry.ErrUnsupported},
	216: {"CUDA_ERROR_CONTEXT_ALREADY_IN_USE", "the context is bound to one thread: the engine must use the primary context", kvferry.ErrUnsupported},
	217: {"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "these two GPUs cannot reach each other's memory", kvferry.ErrUnsupported},
	218: {"CUDA_ERROR_INVALID_PTX", "the kernel's PTX does not compile", kvferry.ErrInvalid},
	219: {"CUDA_ERROR_INVALID_GRAPHICS_CONTEXT", strange, kvferry.ErrUnsupported},
	220: {"CUDA_ERROR_NVLINK_UNCORRECTABLE", "NVLink had an error that it could not correct: " + again, kvferry.ErrDeviceLost},
	221: {"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "the driver's compiler libnvidia-ptxjitcompiler.so is missing: a container needs NVIDIA_DRIVER_CAPABILITIES with compute", kvferry.ErrUnsupported},
	222: {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the kernel's PTX is newer than the driver: update the driver", kvferry.ErrUnsupported},
	223: {"CUDA_ERROR_JIT_COMPILATION_DISABLED", "compiling is switched off: unset CUDA_DISABLE_PTX_JIT, or fill the pipeline cache elsewhere", kvferry.ErrUnsupported},
	224: {"CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY", strange, kvferry.ErrUnsupported},
	225: {"CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC", strange, kvferry.ErrUnsupported},
	226: {"CUDA_ERROR_CONTAINED", "the GPU contained an error of its hardware or of a peer's: " + again, kvferry.ErrDeviceLost},
	300: {"CUDA_ERROR_INVALID_SOURCE", "the kernel's source is invalid", kvferry.ErrInvalid},
	301: {"CUDA_ERROR_FILE_NOT_FOUND", "a file of the driver is missing: install it anew", kvferry.ErrUnsupported},
	302: {"CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND", "the driver's libraries do not fit each other: install it anew", kvferry.ErrUnsupported},
	303: {"CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", "a library of the driver does not start: a container needs NVIDIA_DRIVER_CAPABILITIES with compute", kvferry.ErrUnsupported},
	304: {"CUDA_ERROR_OPERATING_SYSTEM", "the system refused what the driver asked for: check the rights on /dev/nvidia*, the limit of locked memory and the container's", kvferry.ErrUnsupported},
	400: {"CUDA_ERROR_INVALID_HANDLE", "a stream, event or kernel is closed, or belongs to another device", kvferry.ErrInvalid},
	401: {"CUDA_ERROR_ILLEGAL_STATE", "a resource is not in the state that the call needs", kvferry.ErrInvalid},
	402: {"CUDA_ERROR_LOSSY_QUERY", strange, kvferry.ErrUnsupported},
	500: {"CUDA_ERROR_NOT_FOUND", "the driver has no such function: update it", kvferry.ErrUnsupported},
	600: {"CUDA_ERROR_NOT_READY", "the work before is not done yet: wait for it first", kvferry.ErrInvalid},
	700: {"CUDA_ERROR_ILLEGAL_ADDRESS", "a kernel touched memory that it must not: " + again, kvferry.ErrDeviceLost},
	701: {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "a kernel wants more threads, registers, shared memory or parameters than the GPU has", kvferry.ErrUnsupported},
	702: {"CUDA_ERROR_LAUNCH_TIMEOUT", "a kernel ran longer than a GPU with a display allows: " + again, kvferry.ErrDeviceLost},
	703: {"CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING", strange, kvferry.ErrUnsupported},
	704: {"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "the access was allowed before", kvferry.ErrExists},
	705: {"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", "the access was not allowed before", kvferry.ErrInvalid},
	708: {"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", strange, kvferry.ErrUnsupported},
	709: {"CUDA_ERROR_CONTEXT_IS_DESTROYED", "somebody in the process destroyed or reset the device's context: " + again, kvferry.ErrDeviceLost},
	710: {"CUDA_ERROR_ASSERT", "an assertion in a kernel failed: " + again, kvferry.ErrDeviceLost},
	711: {"CUDA_ERROR_TOO_MANY_PEERS", "the GPU has no room for another peer", kvferry.ErrOutOfMemory},
	712: {"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "the memory is pinned already", kvferry.ErrExists},
	713: {"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "the memory is not pinned", kvferry.ErrInvalid},
	714: {"CUDA_ERROR_HARDWARE_STACK_ERROR", "a kernel broke its call stack: " + again, kvferry.ErrDeviceLost},
	715: {"CUDA_ERROR_ILLEGAL_INSTRUCTION", "a kernel met an illegal instruction: " + again, kvferry.ErrDeviceLost},
	716: {"CUDA_ERROR_MISALIGNED_ADDRESS", "a kernel touched an address that is not aligned: " + again, kvferry.ErrDeviceLost},
	717: {"CUDA_ERROR_INVALID_ADDRESS_SPACE", "a kernel touched the wrong kind of memory: " + again, kvferry.ErrDeviceLost},
	718: {"CUDA_ERROR_INVALID_PC", "a kernel jumped out of its code: " + again, kvferry.ErrDeviceLost},
	719: {"CUDA_ERROR_LAUNCH_FAILED", "a kernel failed: " + again, kvferry.ErrDeviceLost},
	720: {"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", strange, kvferry.ErrUnsupported},
	721: {"CUDA_ERROR_TENSOR_MEMORY_LEAK", "a kernel ended with tensor memory in use: " + again, kvferry.ErrDeviceLost},
	800: {"CUDA_ERROR_NOT_PERMITTED", "this process may not do that: check its rights and the container's", kvferry.ErrUnsupported},
	801: {"CUDA_ERROR_NOT_SUPPORTED", "this GPU, driver or system cannot do that", kvferry.ErrUnsupported},
	802: {"CUDA_ERROR_SYSTEM_NOT_READY", "the system is not ready: where GPUs are linked by NVSwitch, the fabric manager has to run", kvferry.ErrNoDevice},
	803: {"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "the driver's library and its kernel module are of different versions: reboot, load the module anew, or give the container the host's library", kvferry.ErrNoDevice},
	804: {"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "the compatibility library of a newer CUDA does not work with this GPU: take the folder cuda/compat out of LD_LIBRARY_PATH, or update the driver", kvferry.ErrNoDevice},
	805: {"CUDA_ERROR_MPS_CONNECTION_FAILED", mps, kvferry.ErrNoDevice},
	806: {"CUDA_ERROR_MPS_RPC_FAILURE", mps, kvferry.ErrDeviceLost},
	807: {"CUDA_ERROR_MPS_SERVER_NOT_READY", mps, kvferry.ErrNoDevice},
	808: {"CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", mps, kvferry.ErrNoDevice},
	809: {"CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED", mps, kvferry.ErrNoDevice},
	810: {"CUDA_ERROR_MPS_CLIENT_TERMINATED", "the Multi-Process Service ended this client: " + again, kvferry.ErrDeviceLost},
	811: {"CUDA_ERROR_CDP_NOT_SUPPORTED", strange, kvferry.ErrUnsupported},
	812: {"CUDA_ERROR_CDP_VERSION_MISMATCH", strange, kvferry.ErrUnsupported},
	900: {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", capture, kvferry.ErrInvalid},
	901: {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", capture, kvferry.ErrInvalid},
	902: {"CUDA_ERROR_STREAM_CAPTURE_MERGE", capture, kvferry.ErrInvalid},
	903: {"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", capture, kvferry.ErrInvalid},
	904: {"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", capture, kvferry.ErrInvalid},
	905: {"CUDA_ERROR_STREAM_CAPTURE_ISOLATION", capture, kvferry.ErrInvalid},
	906: {"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", capture, kvferry.ErrInvalid},
	907: {"CUDA_ERROR_CAPTURED_EVENT", capture, kvferry.ErrInvalid},
	908: {"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", capture, kvferry.ErrInvalid},
	909: {"CUDA_ERROR_TIMEOUT", "the driver gave up waiting", context.DeadlineExceeded},
	910: {"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", strange, kvferry.ErrUnsupported},
	911: {"CUDA_ERROR_EXTERNAL_DEVICE", "a device outside the GPU failed", kvferry.ErrDeviceLost},
	912: {"CUDA_ERROR_INVALID_CLUSTER_SIZE", strange, kvferry.ErrUnsupported},
	913: {"CUDA_ERROR_FUNCTION_NOT_LOADED", "the kernel is not loaded yet", kvferry.ErrInvalid},
	914: {"CUDA_ERROR_INVALID_RESOURCE_TYPE", strange, kvferry.ErrUnsupported},
	915: {"CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION", strange, kvferry.ErrUnsupported},
	916: {"CUDA_ERROR_KEY_ROTATION", "the GPU in confidential mode has to change its keys: " + again, kvferry.ErrDeviceLost},
	999: {"CUDA_ERROR_UNKNOWN", "the driver failed and does not say why, its log (dmesg, lines with NVRM) may: " + again, kvferry.ErrDeviceLost},
}

func codeOf(n int) code {
	if c, ok := codes[n]; ok {
		return c
	}
	return code{fmt.Sprintf("CUDA_ERROR_%d", n), "an error that this version does not know: see NVIDIA's list of CUresult", kvferry.ErrUnsupported}
}
