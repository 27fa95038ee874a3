/*
 * A libnvidia-ml.so.1 whose GPUs live in a memory-mapped file. It answers what the file says and writes
 * through what callers set; it computes nothing but energy between the plant's writes. Every function that
 * the binding knows and that is not here is added by build.py and answers "not supported".
 * The layout (H_, T_, W_ and the sizes) is generated in front of this text by layout.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NVML __attribute__((visibility("default"))) int

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, VERSION_MISMATCH = 25, UNKNOWN = 999
};
enum { INSTANT_WAIT_US = 5000, XID_EVENT = 0x8, GPU_SCOPE = 0, PSTATE_0 = 0, SLICE_BITS = 16, MOST_SLICES = 7 };

typedef uint64_t u64;
typedef volatile uint64_t *words;

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static char *file;      /* never unmapped: a call that hangs in another thread may still look at it */
static struct stat mapped;
static int users;

/* ---- the file ---- */

static words header(void) { return (words)file; }
static char *record(unsigned i) { return file + HEADER_BYTES + (size_t)i * RECORD_BYTES; }
static words numbers(unsigned i) { return (words)(record(i) + WORDS_AT); }
static const char *text(unsigned i, int which) { return record(i) + which * TEXT_BYTES; }
static unsigned gpu_count(void) { return (unsigned)header()[H_GPU_COUNT]; }

static u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

/* Waits as long as the knob says; lowering the knob lets a hanging call go at once. */
static void wait_for(volatile uint64_t *latency_us) {
    u64 since = now_ns();
    while (now_ns() - since < *latency_us * 1000ull) {
        u64 left_us = *latency_us;
        usleep((useconds_t)(left_us < INSTANT_WAIT_US ? left_us : INSTANT_WAIT_US));
    }
}
static void answer_late(void) { wait_for(&header()[H_LATENCY_US]); }

/* The file beside this library, if there is one: a copy of it in a folder is a host of its own. Else the variable. */
static const char *state_path(void) {
    static char beside[4096];
    Dl_info self;
    if (!dladdr((void *)state_path, &self) || !self.dli_fname) return getenv(STATE_VARIABLE);
    const char *slash = strrchr(self.dli_fname, '/');
    int folder = slash ? (int)(slash - self.dli_fname) + 1 : 0;
    int length = snprintf(beside, sizeof beside, "%.*s%s", folder, self.dli_fname, STATE_BESIDE);
    return length < (int)sizeof beside && access(beside, F_OK) == 0 ? beside : getenv(STATE_VARIABLE);
}

static int map_state(void) {
    const char *path = state_path();
    struct stat found;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return DRIVER_NOT_LOADED;
    if (fstat(fd, &found) != 0) { close(fd); return UNKNOWN; }
    if (file && found.st_ino == mapped.st_ino && found.st_dev == mapped.st_dev) { close(fd); return SUCCESS; }
    char *fresh = found.st_size < HEADER_BYTES ? MAP_FAILED
        : mmap(NULL, (size_t)found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (fresh == MAP_FAILED) return UNKNOWN;
    words head = (words)fresh;
    if (head[H_MAGIC] != MAGIC_VALUE || head[H_LAYOUT] != LAYOUT_VALUE || head[H_GPU_COUNT] > MAX_GPUS
        || (u64)found.st_size < HEADER_BYTES + head[H_GPU_COUNT] * RECORD_BYTES) {
        munmap(fresh, (size_t)found.st_size);
        return UNKNOWN;
    }
    file = fresh;
    mapped = found;
    return SUCCESS;
}

static int ready(void) {
    if (!users) return UNINITIALIZED;
    answer_late();
    return SUCCESS;
}

/* A handle is a record's number plus one; that of a MIG instance has the instance's number plus one above it. */
static unsigned slice_of(void *handle) { return (unsigned)((uintptr_t)handle >> SLICE_BITS); }
static void *slice_handle(unsigned i, unsigned slice) {
    return (void *)((uintptr_t)(slice + 1) << SLICE_BITS | (uintptr_t)(i + 1));
}

/* The board, or the instance of a board, that a handle names. */
static int reach_any(void *handle, unsigned *i) {
    int code = ready();
    if (code) return code;
    uintptr_t board = (uintptr_t)handle & ((1u << SLICE_BITS) - 1);
    if (!board || board > gpu_count()) return INVALID_ARGUMENT;
    *i = (unsigned)(board - 1);
    if (slice_of(handle) > numbers(*i)[W_MIG_INSTANCES]) return INVALID_ARGUMENT;
    wait_for(&numbers(*i)[W_LATENCY_US]);
    return (int)numbers(*i)[W_ERROR_CODE];
}

/* The board alone: power, limits, clocks and temperatures are not those of its instances. */
static int reach(void *handle, unsigned *i) {
    int code = reach_any(handle, i);
    return code ? code : slice_of(handle) ? NOT_SUPPORTED : SUCCESS;
}

static int value(unsigned i, int word, u64 *out) {
    *out = numbers(i)[word];
    return *out >> 16 == FAULT >> 16 ? (int)(*out & 0xFFFF) : SUCCESS;
}

static int give_uint(void *handle, int word, unsigned *out) {
    unsigned i;
    u64 v;
    int code = reach(handle, &i);
    if (code) return code;
    code = value(i, word, &v);
    if (!code) *out = (unsigned)v;
    return code;
}

static int copy_text(const char *from, char *to, unsigned length) {
    if (strlen(from) >= length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

static int give_text(void *handle, int which, char *to, unsigned length) {
    unsigned i;
    int code = reach(handle, &i);
    return code ? code : copy_text(text(i, which), to, length);
}

static int give_handle(unsigned i, void **handle) {
    int code = (int)numbers(i)[W_ERROR_CODE];
    if (!code) *handle = (void *)(uintptr_t)(i + 1);
    return code;
}

/* ---- library and system ---- */

NVML nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&init_lock);
    int code = map_state();
    if (!code) { answer_late(); code = (int)header()[H_INIT_ERROR]; }
    if (!code) users++;
    pthread_mutex_unlock(&init_lock);
    return code;
}
NVML nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
NVML nvmlInit(void) { return nvmlInitWithFlags(0); }

NVML nvmlShutdown(void) {
    pthread_mutex_lock(&init_lock);
    int code = users ? SUCCESS : UNINITIALIZED;
    if (users) users--;
    pthread_mutex_unlock(&init_lock);
    return code;
}

__attribute__((visibility("default"))) const char *nvmlErrorString(int code) {
    static __thread char words_for_it[40];
    snprintf(words_for_it, sizeof words_for_it, "Simulated NVML error %d", code);
    return words_for_it;
}

NVML nvmlSystemGetDriverVersion(char *to, unsigned length) {
    int code = ready();
    return code ? code : copy_text(file + DRIVER_VERSION_AT, to, length);
}
NVML nvmlSystemGetNVMLVersion(char *to, unsigned length) {
    int code = ready();
    return code ? code : copy_text(file + NVML_VERSION_AT, to, length);
}
NVML nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return ready(); }
NVML nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

NVML nvmlDeviceGetCount_v2(unsigned *count) {
    int code = ready();
    if (!code) *count = gpu_count();
    return code;
}
NVML nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

/* ---- finding a GPU ---- */

NVML nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    int code = ready();
    if (code) return code;
    for (unsigned i = 0; i < gpu_count(); i++)
        if (numbers(i)[W_INDEX] == index) return give_handle(i, handle);
    return INVALID_ARGUMENT;
}
NVML nvmlDeviceGetHandleByIndex(unsigned index, void **handle) { return nvmlDeviceGetHandleByIndex_v2(index, handle); }

static int handle_by_text(int which, const char *wanted, void **handle) {
    int code = ready();
    if (code) return code;
    for (unsigned i = 0; i < gpu_count(); i++)
        if (strcasecmp(text(i, which), wanted) == 0) return give_handle(i, handle);
    return NOT_FOUND;
}
NVML nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) { return handle_by_text(T_UUID, uuid, handle); }
NVML nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **handle) { return handle_by_text(T_PCI_BUS_ID, id, handle); }
NVML nvmlDeviceGetHandleByPciBusId(const char *id, void **handle) { return handle_by_text(T_PCI_BUS_ID, id, handle); }

NVML nvmlDeviceGetIndex(void *handle, unsigned *out) { return give_uint(handle, W_INDEX, out); }
NVML nvmlDeviceGetMinorNumber(void *handle, unsigned *out) { return give_uint(handle, W_INDEX, out); }
static unsigned slice_gib(unsigned i) {
    return (unsigned)(numbers(i)[W_MEMORY_TOTAL_BYTES] / numbers(i)[W_MIG_INSTANCES] >> 30);
}
NVML nvmlDeviceGetName(void *handle, char *to, unsigned length) {
    char name[2 * TEXT_BYTES];
    unsigned i;
    int code = slice_of(handle) ? reach_any(handle, &i) : give_text(handle, T_NAME, to, length);
    if (code || !slice_of(handle)) return code;
    snprintf(name, sizeof name, "%s MIG 1g.%ugb", text(i, T_NAME), slice_gib(i));
    return copy_text(name, to, length);
}
static u64 mixed(const char *from, u64 h) {
    while (*from) h = (h ^ (unsigned char)*from++) * 0x100000001B3ull;
    return h;
}
NVML nvmlDeviceGetUUID(void *handle, char *to, unsigned length) {
    char name[TEXT_BYTES];
    unsigned i;
    int code = slice_of(handle) ? reach_any(handle, &i) : give_text(handle, T_UUID, to, length);
    if (code || !slice_of(handle)) return code;
    u64 high = mixed(text(i, T_UUID), 0xCBF29CE484222325ull), low = mixed(text(i, T_UUID), high + slice_of(handle));
    snprintf(name, sizeof name, "MIG-%08x-%04x-5%03x-8%03x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16) & 0xFFFF,
             (unsigned)high & 0xFFF, (unsigned)(low >> 52) & 0xFFF, (unsigned long long)low & 0xFFFFFFFFFFFFull);
    return copy_text(name, to, length);
}
NVML nvmlDeviceGetSerial(void *handle, char *to, unsigned length) { return give_text(handle, T_SERIAL, to, length); }

struct pci { char legacy_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char id[32]; };
NVML nvmlDeviceGetPciInfo_v3(void *handle, struct pci *out) {
    unsigned i;
    int code = reach(handle, &i);
    if (code) return code;
    memset(out, 0, sizeof *out);
    snprintf(out->id, sizeof out->id, "%s", text(i, T_PCI_BUS_ID));
    sscanf(out->id, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->legacy_id, sizeof out->legacy_id, "%04x:%02x:%02x.0", out->domain & 0xFFFF, out->bus & 0xFF,
             out->device & 0xFF);
    return SUCCESS;
}
NVML nvmlDeviceGetPciInfo(void *handle, struct pci *out) { return nvmlDeviceGetPciInfo_v3(handle, out); }

/* ---- power ---- */

static int enforced_mw(unsigned i, u64 *out) {
    u64 outside;
    int code = value(i, W_REQUESTED_LIMIT_MW, out);
    if (code == NOT_SUPPORTED) code = value(i, W_DEFAULT_LIMIT_MW, out);
    if (code || value(i, W_OUTSIDE_LIMIT_MW, &outside)) return code;
    if (outside < *out) *out = outside;
    return SUCCESS;
}

/* Burns on at the last power if the plant stops writing, and never counts backwards when it comes back. */
static int energy_mj(unsigned i, u64 *out) {
    words w = numbers(i);
    u64 energy, power, told = w[W_ENERGY_TOLD_MJ];
    int code = value(i, W_ENERGY_MJ, &energy);
    if (code) return code;
    if (value(i, W_POWER_MW, &power)) power = 0;
    u64 now = now_ns(), at = w[W_ENERGY_AT_NS];
    energy += now > at ? (u64)((double)power * (double)(now - at) / 1e9) : 0;
    while (energy > told && !__atomic_compare_exchange_n(&w[W_ENERGY_TOLD_MJ], &told, energy, 0,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) { }
    *out = energy > told ? energy : told;
    return SUCCESS;
}

NVML nvmlDeviceGetPowerUsage(void *handle, unsigned *mw) { return give_uint(handle, W_AVERAGE_POWER_MW, mw); }
NVML nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *mw) {
    return give_uint(handle, W_REQUESTED_LIMIT_MW, mw);
}
NVML nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned *mw) {
    return give_uint(handle, W_DEFAULT_LIMIT_MW, mw);
}
NVML nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned *min_mw, unsigned *max_mw) {
    int code = give_uint(handle, W_MIN_LIMIT_MW, min_mw);
    return code ? code : give_uint(handle, W_MAX_LIMIT_MW, max_mw);
}
NVML nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *mw) {
    unsigned i;
    u64 v;
    int code = reach(handle, &i);
    if (!code) code = enforced_mw(i, &v);
    if (!code) *mw = (unsigned)v;
    return code;
}
NVML nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    unsigned i;
    u64 v;
    int code = reach(handle, &i);
    if (!code) code = energy_mj(i, &v);
    if (!code) *mj = v;
    return code;
}

NVML nvmlDeviceSetPowerManagementLimit(void *handle, unsigned mw) {
    unsigned i;
    u64 least, most, present;
    int code = reach(handle, &i);
    if (!code) code = value(i, W_REQUESTED_LIMIT_MW, &present);
    if (code) return code;
    if (header()[H_SETTERS_DENIED] || numbers(i)[W_DENIED]) return NO_PERMISSION;
    if (value(i, W_MIN_LIMIT_MW, &least) || value(i, W_MAX_LIMIT_MW, &most)) return NOT_SUPPORTED;
    if (mw < least || mw > most) return INVALID_ARGUMENT;
    words w = numbers(i);
    if (w[W_OBEDIENCE] != IGNORES) w[W_REQUESTED_LIMIT_MW] = mw;
    w[W_SET_AT_NS] = now_ns();
    __atomic_fetch_add(&w[W_SET_SEQUENCE], 1, __ATOMIC_SEQ_CST);
    return SUCCESS;
}

struct power_value { unsigned version; uint8_t scope; unsigned mw; };
NVML nvmlDeviceSetPowerManagementLimit_v2(void *handle, struct power_value *v) {
    if (v->version != (0x02000000 | sizeof *v)) return VERSION_MISMATCH;
    return v->scope == GPU_SCOPE ? nvmlDeviceSetPowerManagementLimit(handle, v->mw) : NOT_SUPPORTED;
}

/* ---- temperature ---- */

NVML nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *c) {
    return sensor ? INVALID_ARGUMENT : give_uint(handle, W_TEMPERATURE_C, c);
}
struct temperature { unsigned version, sensor; int c; };
NVML nvmlDeviceGetTemperatureV(void *handle, struct temperature *t) {
    if (t->version != (0x01000000 | sizeof *t)) return VERSION_MISMATCH;
    return nvmlDeviceGetTemperature(handle, t->sensor, (unsigned *)&t->c);
}
struct margin { unsigned version; int c; };
NVML nvmlDeviceGetMarginTemperature(void *handle, struct margin *m) {
    if (m->version != (0x01000000 | sizeof *m)) return VERSION_MISMATCH;
    return give_uint(handle, W_MARGIN_C, (unsigned *)&m->c);
}
NVML nvmlDeviceGetTemperatureThreshold(void *handle, unsigned which, unsigned *c) {
    static const int word_of[] = {W_SHUTDOWN_C, W_SLOWDOWN_C, W_MEMORY_MAX_C, W_SLOWDOWN_C};
    unsigned relative;
    if (which > 3) return INVALID_ARGUMENT;
    return give_uint(handle, W_SLOWDOWN_MARGIN_C, &relative) ? give_uint(handle, word_of[which], c) : NOT_SUPPORTED;
}

/* ---- fields: the call succeeds as a whole, each value has its own code ---- */

enum { TYPE_UINT = 1, TYPE_ULL = 3, TYPE_INT = 5 };
struct field { unsigned id, scope; int64_t timestamp_us, latency_us; unsigned type, code; u64 value; };

static int field_value(unsigned i, struct field *f) {
    f->type = TYPE_UINT;
    if (f->scope != GPU_SCOPE) return NOT_SUPPORTED;
    switch (f->id) {
        case 1: return value(i, W_ECC_MODE, &f->value);
        case 3: f->type = TYPE_ULL; return value(i, W_ECC_CORRECTED_VOLATILE, &f->value);
        case 4: f->type = TYPE_ULL; return value(i, W_ECC_UNCORRECTED_VOLATILE, &f->value);
        case 5: f->type = TYPE_ULL; return value(i, W_ECC_CORRECTED_AGGREGATE, &f->value);
        case 6: f->type = TYPE_ULL; return value(i, W_ECC_UNCORRECTED_AGGREGATE, &f->value);
        case 31: return value(i, W_RETIRED_PENDING, &f->value);
        case 74: f->type = TYPE_ULL; return value(i, W_POWER_VIOLATION_NS, &f->value);
        case 75: f->type = TYPE_ULL; return value(i, W_THERMAL_VIOLATION_NS, &f->value);
        case 82: return value(i, W_MEMORY_TEMPERATURE_C, &f->value);
        case 83: case 191: f->type = TYPE_ULL; return energy_mj(i, &f->value);
        case 142: return value(i, W_REMAPPED_CORRECTABLE, &f->value);
        case 143: return value(i, W_REMAPPED_UNCORRECTABLE, &f->value);
        case 144: return value(i, W_REMAP_PENDING, &f->value);
        case 145: return value(i, W_REMAP_FAILURE, &f->value);
        case 185: return value(i, W_AVERAGE_POWER_MW, &f->value);
        case 186: return value(i, W_POWER_MW, &f->value);
        case 187: return value(i, W_MIN_LIMIT_MW, &f->value);
        case 188: return value(i, W_MAX_LIMIT_MW, &f->value);
        case 189: return value(i, W_DEFAULT_LIMIT_MW, &f->value);
        case 190: return enforced_mw(i, &f->value);
        case 192: return value(i, W_REQUESTED_LIMIT_MW, &f->value);
        case 193: f->type = TYPE_INT; return value(i, W_SHUTDOWN_MARGIN_C, &f->value);
        case 194: f->type = TYPE_INT; return value(i, W_SLOWDOWN_MARGIN_C, &f->value);
        case 195: f->type = TYPE_INT; return value(i, W_MEMORY_MAX_MARGIN_C, &f->value);
        case 196: f->type = TYPE_INT; return value(i, W_GPU_MAX_MARGIN_C, &f->value);
        case 230: return value(i, W_RECOVERY_ACTION, &f->value);
        case 269: f->type = TYPE_ULL; return value(i, W_SW_THERMAL_NS, &f->value);
        case 270: f->type = TYPE_ULL; return value(i, W_HW_THERMAL_NS, &f->value);
        case 271: f->type = TYPE_ULL; return value(i, W_POWER_BRAKE_NS, &f->value);
        default: return NOT_SUPPORTED;
    }
}

NVML nvmlDeviceGetFieldValues(void *handle, int count, struct field *fields) {
    unsigned i;
    int code = reach(handle, &i);
    for (int n = 0; !code && n < count; n++) {
        fields[n].timestamp_us = (int64_t)(now_ns() / 1000);
        fields[n].latency_us = 0;
        fields[n].code = (unsigned)field_value(i, &fields[n]);
    }
    return code;
}

/* ---- load, clocks, memory ---- */

NVML nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) {
    unsigned in_slices;
    int code = give_uint(handle, W_MIG_MODE, &in_slices);
    if (!code && in_slices) code = NOT_SUPPORTED;
    if (!code) code = give_uint(handle, W_UTILISATION_PERCENT, &rates[0]);
    return code ? code : give_uint(handle, W_MEMORY_UTILISATION_PERCENT, &rates[1]);
}
NVML nvmlDeviceGetClockInfo(void *handle, unsigned type, unsigned *mhz) {
    return type > 3 ? INVALID_ARGUMENT : give_uint(handle, type == 2 ? W_MEMORY_CLOCK_MHZ : W_SM_CLOCK_MHZ, mhz);
}
NVML nvmlDeviceGetMaxClockInfo(void *handle, unsigned type, unsigned *mhz) {
    return type > 3 ? INVALID_ARGUMENT : give_uint(handle, type == 2 ? W_MEMORY_CLOCK_MHZ : W_MAX_SM_CLOCK_MHZ, mhz);
}

static int lock_clocks(void *handle, unsigned least, unsigned most) {
    unsigned i;
    int code = reach(handle, &i);
    if (code) return code;
    if (header()[H_SETTERS_DENIED] || numbers(i)[W_DENIED]) return NO_PERMISSION;
    if (least > most) return INVALID_ARGUMENT;
    numbers(i)[W_LOCKED_MIN_CLOCK_MHZ] = least;
    numbers(i)[W_LOCKED_MAX_CLOCK_MHZ] = most;
    return SUCCESS;
}
NVML nvmlDeviceSetGpuLockedClocks(void *handle, unsigned least, unsigned most) { return lock_clocks(handle, least, most); }
NVML nvmlDeviceResetGpuLockedClocks(void *handle) { return lock_clocks(handle, 0, 0); }

NVML nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *mask) {
    unsigned i;
    u64 v;
    int code = reach(handle, &i);
    if (!code) code = value(i, W_EVENT_REASONS, &v);
    if (!code) *mask = v;
    return code;
}
NVML nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *mask) {
    return nvmlDeviceGetCurrentClocksEventReasons(handle, mask);
}
NVML nvmlDeviceGetPerformanceState(void *handle, unsigned *state) {
    unsigned i;
    *state = PSTATE_0;
    return reach(handle, &i);
}

struct memory { unsigned long long total, free, used; };
NVML nvmlDeviceGetMemoryInfo(void *handle, struct memory *m) {
    unsigned i;
    u64 total, used;
    int code = reach_any(handle, &i);
    if (!code) code = value(i, W_MEMORY_TOTAL_BYTES, &total);
    if (!code) code = value(i, W_MEMORY_USED_BYTES, &used);
    if (code) return code;
    if (slice_of(handle)) {
        total /= numbers(i)[W_MIG_INSTANCES];
        used = slice_of(handle) > 1 ? 0 : used < total ? used : total;
    }
    *m = (struct memory){.total = total, .free = total - used, .used = used};
    return SUCCESS;
}
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
NVML nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *m) {
    struct memory plain;
    if (m->version != (0x02000000 | sizeof *m)) return VERSION_MISMATCH;
    int code = nvmlDeviceGetMemoryInfo(handle, &plain);
    if (!code) { m->total = plain.total; m->reserved = 0; m->free = plain.free; m->used = plain.used; }
    return code;
}

/* ---- memory errors ---- */

NVML nvmlDeviceGetEccMode(void *handle, unsigned *current, unsigned *pending) {
    int code = give_uint(handle, W_ECC_MODE, current);
    if (!code) *pending = *current;
    return code;
}
NVML nvmlDeviceGetTotalEccErrors(void *handle, unsigned uncorrected, unsigned aggregate, unsigned long long *count) {
    static const int word_of[2][2] = {{W_ECC_CORRECTED_VOLATILE, W_ECC_CORRECTED_AGGREGATE},
                                      {W_ECC_UNCORRECTED_VOLATILE, W_ECC_UNCORRECTED_AGGREGATE}};
    unsigned i;
    u64 v;
    int code = reach(handle, &i);
    if (!code && (uncorrected > 1 || aggregate > 1)) code = INVALID_ARGUMENT;
    if (!code) code = value(i, word_of[uncorrected][aggregate], &v);
    if (!code) *count = v;
    return code;
}
NVML nvmlDeviceGetRemappedRows(void *handle, unsigned *correctable, unsigned *uncorrectable, unsigned *pending,
                               unsigned *failure) {
    int code = give_uint(handle, W_REMAPPED_CORRECTABLE, correctable);
    if (!code) code = give_uint(handle, W_REMAPPED_UNCORRECTABLE, uncorrectable);
    if (!code) code = give_uint(handle, W_REMAP_PENDING, pending);
    return code ? code : give_uint(handle, W_REMAP_FAILURE, failure);
}
NVML nvmlDeviceGetRetiredPagesPendingStatus(void *handle, unsigned *pending) {
    return give_uint(handle, W_RETIRED_PENDING, pending);
}

/* ---- modes ---- */

NVML nvmlDeviceGetPersistenceMode(void *handle, unsigned *on) { return give_uint(handle, W_PERSISTENCE, on); }
NVML nvmlDeviceSetPersistenceMode(void *handle, unsigned on) {
    unsigned i;
    int code = reach(handle, &i);
    if (code) return code;
    if (header()[H_SETTERS_DENIED] || numbers(i)[W_DENIED]) return NO_PERMISSION;
    numbers(i)[W_PERSISTENCE] = on;
    return SUCCESS;
}
NVML nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    int code = give_uint(handle, W_MIG_MODE, current);
    return code ? code : give_uint(handle, W_MIG_PENDING, pending);
}
NVML nvmlDeviceIsMigDeviceHandle(void *handle, unsigned *is_slice) {
    unsigned i;
    *is_slice = slice_of(handle) != 0;
    return reach_any(handle, &i);
}
NVML nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    unsigned mode;
    int code = give_uint(handle, W_MIG_MODE, &mode);
    *count = MOST_SLICES;
    return code;
}
NVML nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **slice) {
    unsigned i;
    int code = reach(handle, &i);
    if (code) return code;
    if (!numbers(i)[W_MIG_MODE] || index >= numbers(i)[W_MIG_INSTANCES]) return NOT_FOUND;
    *slice = slice_handle(i, index);
    return SUCCESS;
}
NVML nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *slice, void **handle) {
    unsigned i;
    int code = reach_any(slice, &i);
    if (code) return code;
    *handle = (void *)(uintptr_t)(i + 1);
    return slice_of(slice) ? SUCCESS : INVALID_ARGUMENT;
}
static int give_instance(void *handle, unsigned *id, unsigned of_slice) {
    unsigned i;
    int code = reach_any(handle, &i);
    *id = of_slice;
    return code ? code : slice_of(handle) ? SUCCESS : NOT_SUPPORTED;
}
NVML nvmlDeviceGetGpuInstanceId(void *handle, unsigned *id) { return give_instance(handle, id, slice_of(handle)); }
NVML nvmlDeviceGetComputeInstanceId(void *handle, unsigned *id) { return give_instance(handle, id, 0); }
struct attributes { unsigned multiprocessors, copy, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices; unsigned long long memory_mb; };
NVML nvmlDeviceGetAttributes_v2(void *handle, struct attributes *out) {
    unsigned i;
    int code = reach_any(handle, &i);
    if (code) return code;
    if (!slice_of(handle)) return NOT_SUPPORTED;
    *out = (struct attributes){.multiprocessors = 16, .copy = 1, .gpu_slices = 1, .compute_slices = 1,
                               .memory_mb = numbers(i)[W_MEMORY_TOTAL_BYTES] / numbers(i)[W_MIG_INSTANCES] >> 20};
    return SUCCESS;
}
NVML nvmlDeviceGetComputeMode(void *handle, unsigned *mode) {
    unsigned i;
    *mode = 0;
    return reach(handle, &i);
}
NVML nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    unsigned capability;
    int code = give_uint(handle, W_COMPUTE_CAPABILITY, &capability);
    if (!code) { *major = (int)capability / 10; *minor = (int)capability % 10; }
    return code;
}

/* ---- processes: our job and somebody else's, listed as long as they exist (a stopped one keeps its memory) ---- */

struct process { unsigned pid; unsigned long long memory_bytes; unsigned gpu_instance, compute_instance; };
NVML nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *list) {
    static const int words_of[2][2] = {{W_JOB_PID, W_MEMORY_USED_BYTES}, {W_FOREIGN_PID, W_FOREIGN_MEMORY_BYTES}};
    struct process found[2];
    unsigned i, n = 0, room = *count;
    int code = reach_any(handle, &i);
    if (code) return code;
    for (unsigned at = 0; at < 2; at++) {
        u64 pid, held;
        code = value(i, words_of[at][0], &pid);
        if (code) return code;
        if (!pid) continue;
        int lingers = at == 0 && numbers(i)[W_JOB_LINGERS];
        if (!lingers && kill((pid_t)pid, 0) != 0 && errno != EPERM) continue;
        if (value(i, words_of[at][1], &held)) held = ~0ull;
        if (at == 0 && numbers(i)[W_FOREIGN_PID] && held != ~0ull) held -= numbers(i)[W_FOREIGN_MEMORY_BYTES];
        unsigned instance = numbers(i)[W_MIG_MODE] ? 1 + at : 0xFFFFFFFFu;
        if (slice_of(handle) && slice_of(handle) != instance) continue;
        found[n++] = (struct process){(unsigned)pid, held, instance, numbers(i)[W_MIG_MODE] ? 0 : 0xFFFFFFFFu};
    }
    *count = n;
    if (n > room) return INSUFFICIENT_SIZE;
    if (n) memcpy(list, found, n * sizeof *found);
    return SUCCESS;
}
NVML nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, struct process *list) {
    return nvmlDeviceGetComputeRunningProcesses_v3(handle, count, list);
}
NVML nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, struct process *list) {
    unsigned i;
    (void)list;
    *count = 0;
    return reach(handle, &i);
}
NVML nvmlDeviceGetGraphicsRunningProcesses_v2(void *handle, unsigned *count, struct process *list) {
    return nvmlDeviceGetGraphicsRunningProcesses_v3(handle, count, list);
}

/* ---- events: XIDs only ---- */

struct event_set { u64 seen[MAX_GPUS]; unsigned char registered[MAX_GPUS]; };
struct event { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

NVML nvmlEventSetCreate(struct event_set **set) {
    int code = ready();
    if (!code) *set = calloc(1, sizeof **set);
    return code;
}
NVML nvmlEventSetFree(struct event_set *set) { free(set); return SUCCESS; }
NVML nvmlDeviceGetSupportedEventTypes(void *handle, unsigned long long *types) {
    unsigned i;
    *types = XID_EVENT;
    return reach(handle, &i);
}
NVML nvmlDeviceRegisterEvents(void *handle, unsigned long long types, struct event_set *set) {
    unsigned i;
    int code = reach(handle, &i);
    if (code) return code;
    if (types & ~(unsigned long long)XID_EVENT) return NOT_SUPPORTED;
    set->seen[i] = numbers(i)[W_XID_SEQUENCE];
    set->registered[i] = 1;
    return SUCCESS;
}
NVML nvmlEventSetWait_v2(struct event_set *set, struct event *event, unsigned timeout_ms) {
    int code = ready();
    u64 since = now_ns();
    while (!code) {
        for (unsigned i = 0; i < gpu_count(); i++) {
            if (!set->registered[i] || numbers(i)[W_XID_SEQUENCE] == set->seen[i]) continue;
            set->seen[i] = numbers(i)[W_XID_SEQUENCE];
            *event = (struct event){(void *)(uintptr_t)(i + 1), XID_EVENT, numbers(i)[W_XID], 0xFFFFFFFFu, 0xFFFFFFFFu};
            return SUCCESS;
        }
        if (now_ns() - since >= timeout_ms * 1000000ull) return TIMEOUT;
        usleep(INSTANT_WAIT_US);
        if (!users) code = UNINITIALIZED;
    }
    return code;
}
