"""Plain implementations to hold lrd against: Algorithm 1 in scalar Python, as slow as can be."""

import math

import lrd


class Reference:
    """Algorithm 1 on lists of floats, a parameter at a time, in the paper's letters.

    `rule` is sgdm, rmsprop, adam, amsgrad, adamw or radam, with torch's hyper-parameters.
    """

    def __init__(self, rule, values, keep_prob, seed, **hyper):
        self.rule, self.W, self.p, self.seed, self.hyper = rule, values, keep_prob, seed, hyper
        self.M = [[0.0] * len(w) for w in values]
        self.V = [[0.0] * len(w) for w in values]
        self.V_max = [[0.0] * len(w) for w in values]
        self.t = 0

    def step(self, gradients):
        self.t += 1
        for k, (w, g) in enumerate(zip(self.W, gradients, strict=True)):
            mask = lrd.keep_mask(len(w), self.p, seed=self.seed, step=self.t - 1, index=k).tolist()
            for i in range(len(w)):
                delta = self._delta(k, i, g[i], w[i])
                if mask[i]:
                    w[i] -= self.hyper["lr"] * delta

    def _delta(self, k, i, g, w):
        h, t, M, V = self.hyper, self.t, self.M[k], self.V[k]
        decay = h.get("weight_decay", 0.0)
        if self.rule != "adamw":
            g = g + decay * w
        if self.rule == "sgdm":
            M[i] = h["momentum"] * M[i] + g
            return M[i]
        if self.rule == "rmsprop":
            V[i] = h["alpha"] * V[i] + (1 - h["alpha"]) * g * g
            return g / (math.sqrt(V[i]) + h["eps"])
        beta1, beta2 = h["betas"]
        M[i] = beta1 * M[i] + (1 - beta1) * g
        V[i] = beta2 * V[i] + (1 - beta2) * g * g
        m = M[i] / (1 - beta1**t)
        v = V[i] / (1 - beta2**t)
        if self.rule == "radam":
            rho_inf = 2 / (1 - beta2) - 1
            rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
            if rho <= 5:
                return m
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf)
            r /= math.sqrt((rho_inf - 4) * (rho_inf - 2) * rho)
            return r * m * math.sqrt(1 - beta2**t) / (math.sqrt(V[i]) + h["eps"])
        if self.rule == "amsgrad":
            self.V_max[k][i] = max(self.V_max[k][i], V[i])
            v = self.V_max[k][i] / (1 - beta2**t)
        delta = m / (math.sqrt(v) + h["eps"])
        return delta + decay * w if self.rule == "adamw" else delta
