/* Algorithm 1 over all tensors of a step: one rule, one type of weights, each tensor read once.

   The rules are those of lrd/rules.py, in the same letters and the same order of operations, and
   the mask is that of lrd/mask.py, made in registers. Built with
     -DTYPE_float32  or _float64, _bfloat16, _float16
     -DRULE=sgdm     sgdm, rmsprop, adam or radam, and with it
     -DSTATES=1      how many state tensors the rule has
     -DMOMENTUM=1    0 or 1, and so NESTEROV, CENTERED, AMSGRAD, DECOUPLED, MAXIMIZE
   or, around an optimizer that masks nothing, with
     -DKEEP_COPY     before its step: G becomes a copy of the weights
   and after it a formula of lrd/family.py on them, G being the old ones:
     -DPUT_BACK      dropped weights become what they were
     -DSCALED        those that are kept go h[0] of their way
     -DNOISY         each goes a random part of its way
     -DAGREEING      counts, in S[1], those whose way the gradient, S[0], points too
     -DCAUTIOUS      those go h[0] of their way, others none of it
     -DDECAYED       those whose update does not point away from 0 do not decay */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __APPLE__
#include <dispatch/dispatch.h>
#endif

#define CHUNK 32768 /* elements that a thread takes at once */
#define SCALARS 8

_Static_assert(sizeof(void *) == 8, "the table of tensors has entries of eight bytes");

#if defined TYPE_float64
typedef double real;
#define ROOT sqrt
#else /* half precision is computed in float and rounded where it is stored */
typedef float real;
#define ROOT sqrtf
#endif

#if defined TYPE_float16
typedef _Float16 stored;
#elif defined TYPE_bfloat16
typedef uint16_t stored;
#else
typedef real stored;
#endif

#ifdef TYPE_bfloat16
static inline real load(stored half)
{
    uint32_t bits = (uint32_t)half << 16;
    real value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline stored store(real value) /* rounds to nearest, ties to even */
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value == value ? (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 : 0x7FC0;
}
#else
static inline real load(stored value) { return (real)value; }
static inline stored store(real value) { return (stored)value; }
#endif

#ifdef RULE
/* Each rule takes the gradient, the state, which it renews, and the scalars; it returns ΔW. */

static inline real sgdm(real G, real *S, const real *h)
{
    if (!MOMENTUM) return G;
    real mu = h[2], gain = h[3];
    S[0] = mu * S[0] + gain * G;
    return NESTEROV ? G + mu * S[0] : S[0];
}

static inline real rmsprop(real G, real *S, const real *h)
{
    real rho = h[2], gain = h[3], eps = h[4], mu = h[5];
    real V = S[0] = rho * S[0] + gain * (G * G);
    if (CENTERED) {
        S[1] = S[1] + gain * (G - S[1]);
        V = V - S[1] * S[1];
    }
    real delta = G / (ROOT(V) + eps);
    return MOMENTUM ? S[1 + CENTERED] = mu * S[1 + CENTERED] + delta : delta;
}

static inline real adam(real G, real *S, const real *h)
{
    real gain1 = h[2], beta2 = h[3], gain2 = h[4], scale = h[5], eps = h[6];
    real M = S[0] = S[0] + gain1 * (G - S[0]);
    real V = S[1] = beta2 * S[1] + gain2 * (G * G);
    if (AMSGRAD) V = S[2] = S[2] > V || S[2] != S[2] ? S[2] : V; /* NaN stays, as in torch */
    return scale * (M / (ROOT(V) + eps));
}

static inline real radam(real G, real *S, const real *h)
{
    real gain1 = h[2], beta2 = h[3], gain2 = h[4], scale = h[5], root = h[6], shift = h[7];
    real M = S[0] = S[0] + gain1 * (G - S[0]);
    real V = S[1] = beta2 * S[1] + gain2 * (G * G);
    return scale * (M / (root != 0 ? root * ROOT(V) + shift : shift));
}
#endif

struct tensor {
    stored *W, *G, *S[3];
    int64_t count;        /* elements */
    int64_t first;        /* index of the first in its block of the whole tensor */
    int64_t key0, key1, limit;
    int64_t unit;    /* elements, one after the other in the whole tensor, that share a draw */
    int64_t scalars; /* place of its row among the scalars */
    int64_t layout;  /* place of its layout among the layouts */
    float *counter;  /* of updates; NULL where none are counted */
};

/* How a tensor's elements lie in memory. A line is a run whose indices grow by `stride`; from line
   to line the indices go by `outer` pairs of size and stride, the innermost first. */
struct layout {
    int64_t length, stride, outer;
    int64_t size_and_stride[];
};

struct job {
    const struct tensor *tensors;
    int64_t count;
    const double *scalars;
    const int64_t *layouts;
    int64_t next; /* the first chunk that no thread has taken */
};

static inline int32_t drawn(uint32_t element, uint32_t key0, uint32_t key1)
{
    uint32_t x = (element ^ key0) * 0x9E3779B1u;
    x = ((x ^ x >> 16) ^ key1) * 0x7FEB352Du;
    return (x ^ x >> 15) * 0x846CA68Bu;
}

static inline real blend(real F, real w, real old)
{
    return F == 1 ? w : F == 0 ? old : old - F * (old - w);
}

static inline uint32_t pairs(uint32_t x) { return (x & 0x00FF00FF) + (x >> 8 & 0x00FF00FF); }

static inline int32_t bell(uint32_t x)
{
    x ^= x >> 16;
    uint32_t y = x * 0x7FEB352Du;
    y ^= y >> 15;
    uint32_t z = y * 0x846CA68Bu;
    uint32_t sums = pairs(x) + pairs(y) + pairs(z ^ z >> 16);
    return (int32_t)((sums & 0xFFFF) + (sums >> 16));
}

/* `element` is the number of the first one's draw; a run that shares it has stride 0. */
static void update_line(const struct tensor *tensor, const real *h, int64_t begin, int count,
                        uint32_t element, uint32_t stride)
{
    stored *restrict W = tensor->W + begin;
    stored *restrict G = tensor->G + begin;
#ifdef KEEP_COPY
    memcpy(G, W, count * sizeof *W);
#else
    uint32_t key0 = tensor->key0, key1 = tensor->key1;
    int32_t limit = tensor->limit;
#ifdef PUT_BACK
    for (int i = 0; i < count; i++) {
        int D = drawn(element + (uint32_t)i * stride, key0, key1) <= limit;
        stored w = W[i], old = G[i]; /* both read, or compilers read under a mask, which is slow */
        W[i] = D ? w : old;
    }
#elif defined AGREEING
    const stored *restrict S0 = tensor->S[0] + begin;
    int agreeing = 0;
    for (int i = 0; i < count; i++)
        agreeing += (h[0] * load(G[i]) - load(W[i])) * load(S0[i]) > 0;
    __atomic_fetch_add((int64_t *)tensor->S[1], agreeing, __ATOMIC_RELAXED);
#elif !defined RULE
    const stored *restrict S0 = tensor->S[0] + begin;
    for (int i = 0; i < count; i++) {
        int32_t x = drawn(element + (uint32_t)i * stride, key0, key1);
        real w = load(W[i]), old = load(G[i]);
#if defined SCALED
        w = blend(x <= limit ? h[0] : 0, w, old);
#elif defined NOISY
        w = old - (h[0] + h[1] * (real)(bell(x) - 1530)) * (old - w);
#elif defined CAUTIOUS
        real base = h[1] * old;
        w = blend((base - w) * load(S0[i]) > 0 ? h[0] : 0, w, base);
#else
        real delta = h[0] * old - w;
        w = delta * old >= 0 ? w : old - delta;
#endif
        W[i] = store(w);
    }
#else
    stored *restrict S0 = tensor->S[0] + begin;
    stored *restrict S1 = tensor->S[1] + begin;
    stored *restrict S2 = tensor->S[2] + begin;
    real alpha = h[0], decay = h[1];
    for (int i = 0; i < count; i++) {
        int D = drawn(element + (uint32_t)i * stride, key0, key1) <= limit;
        real w = load(W[i]), g = load(G[i]), S[3];
        if (STATES > 0) S[0] = load(S0[i]);
        if (STATES > 1) S[1] = load(S1[i]);
        if (STATES > 2) S[2] = load(S2[i]);
        if (MAXIMIZE) g = -g;
        if (!DECOUPLED) g = decay != 0 ? g + decay * w : g; /* 0 · inf is NaN: left out at 0 */
        real delta = RULE(g, S, h);
        if (DECOUPLED) delta = decay != 0 ? delta + decay * w : delta;
        W[i] = D ? store(w - alpha * delta) : W[i];
        if (STATES > 0) S0[i] = store(S[0]);
        if (STATES > 1) S1[i] = store(S[1]);
        if (STATES > 2) S2[i] = store(S[2]);
    }
#endif
#endif
}

static void update(const struct job *job, const struct tensor *tensor, int64_t begin, int64_t end)
{
    const struct layout *layout = (const void *)(job->layouts + tensor->layout);
    real h[SCALARS];
    for (int i = 0; i < SCALARS; i++) h[i] = (real)job->scalars[tensor->scalars * SCALARS + i];
    while (begin < end) {
        int64_t line = begin / layout->length, column = begin % layout->length;
        int64_t count = layout->length - column < end - begin ? layout->length - column : end - begin;
        int64_t element = tensor->first + column * layout->stride;
        for (int i = 0; i < layout->outer; i++) {
            element += line % layout->size_and_stride[2 * i] * layout->size_and_stride[2 * i + 1];
            line /= layout->size_and_stride[2 * i];
        }
        int64_t stride = layout->stride, unit = tensor->unit;
        if (unit > 1) {
            if (stride % unit) { /* else the next element has another draw already */
                int64_t shared = (unit - element % unit + stride - 1) / stride;
                if (count > shared) count = shared;
                stride = 0;
            }
            element /= unit;
            stride /= unit;
        }
        update_line(tensor, h, begin, count, element, stride);
        begin += count;
    }
}

/* What every thread does: take chunk after chunk until there is none. */
static void work(void *data)
{
    struct job *job = data;
    int64_t chunk = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED), passed = 0;
    for (int64_t i = 0; i < job->count; i++) {
        const struct tensor *tensor = job->tensors + i;
        int64_t chunks = (tensor->count + CHUNK - 1) / CHUNK;
        while (chunk < passed + chunks) {
            int64_t begin = (chunk - passed) * CHUNK, end = begin + CHUNK;
            if (end > tensor->count) end = tensor->count;
            update(job, tensor, begin, end);
            chunk = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        }
        passed += chunks;
    }
}

#ifdef __APPLE__
static void work_of_one(void *job, size_t number)
{
    work(job);
}
#endif

/* `parallel` is the GOMP_parallel of the OpenMP that torch uses, so that there is one pool. */
void step(const struct tensor *tensors, int64_t count, const double *scalars,
          const int64_t *layouts, int threads,
          void (*parallel)(void (*)(void *), void *, unsigned, unsigned))
{
    struct job job = {tensors, count, scalars, layouts, 0};
#ifdef __APPLE__
    dispatch_apply_f(threads, DISPATCH_APPLY_AUTO, &job, work_of_one);
#else
    if (threads > 1 && parallel) parallel(work, &job, threads, 0);
    else work(&job);
#endif
    for (int64_t i = 0; i < count; i++)
        if (tensors[i].counter) *tensors[i].counter += 1;
}
