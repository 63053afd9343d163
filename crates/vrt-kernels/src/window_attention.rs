//! Placeholder until the kernel is here.
#![allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct WindowGeometry {
    pub batch: usize,
    pub map: [usize; 3],
    pub window: [usize; 3],
    pub full_window: [usize; 3],
    pub shift: [usize; 3],
    pub heads: usize,
    pub channels: usize,
}
impl WindowGeometry {
    pub fn tokens(&self) -> usize {
        self.window.iter().product()
    }
    pub fn windows(&self) -> usize {
        (0..3).map(|i| self.map[i] / self.window[i]).product()
    }
    pub fn relative_index(&self) -> Vec<usize> {
        let f = self.full_window;
        let n = self.tokens();
        let tok = |i: usize| [i / (f[1] * f[2]), (i / f[2]) % f[1], i % f[2]];
        let mut v = vec![];
        for q in 0..n {
            for k in 0..n {
                let (a, b) = (tok(q), tok(k));
                let mut r = 0;
                for x in 0..3 {
                    r = r * (2 * f[x] - 1) + (a[x] + f[x] - 1 - b[x]);
                }
                v.push(r);
            }
        }
        v
    }
    pub fn regions(&self) -> Option<Vec<u8>> {
        if self.shift == [0; 3] {
            return None;
        }
        let reg = |x: usize, a: usize| -> u8 {
            let (m, w, s) = (self.map[a], self.window[a], self.shift[a]);
            if s == 0 {
                0
            } else if x >= m - s {
                2
            } else if x >= m - w {
                1
            } else {
                0
            }
        };
        let [d, h, w] = self.map;
        let [wd, wh, ww] = self.window;
        let mut v = vec![];
        for a in 0..d / wd {
            for b in 0..h / wh {
                for c in 0..w / ww {
                    for i in 0..wd {
                        for j in 0..wh {
                            for k in 0..ww {
                                v.push(
                                    reg(a * wd + i, 0) * 9
                                        + reg(b * wh + j, 1) * 3
                                        + reg(c * ww + k, 2),
                                );
                            }
                        }
                    }
                }
            }
        }
        Some(v)
    }
}
