//! Values of a thread that hold while something runs.

use std::cell::Cell;
use std::thread::LocalKey;

/// What a thread finds outside of the scopes it has entered.
struct Before<T: 'static> {
    key: &'static LocalKey<Cell<T>>,
    value: Option<T>,
}

impl<T> Drop for Before<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.key.set(value);
        }
    }
}

/// Calls `work`, for which `key` has this value on this thread; then it has the one of before, on
/// whatever way `work` is left.
pub(crate) fn with_value<T, R>(
    key: &'static LocalKey<Cell<T>>,
    value: T,
    work: impl FnOnce() -> R,
) -> R {
    let _before = Before { key, value: Some(key.replace(value)) };
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NUMBER: Cell<u8> = const { Cell::new(1) };
    }

    #[test]
    fn the_value_of_before_comes_back() {
        let inner = with_value(&NUMBER, 2, || {
            assert_eq!(with_value(&NUMBER, 3, || NUMBER.get()), 3);
            NUMBER.get()
        });
        assert_eq!((inner, NUMBER.get()), (2, 1));
        let left = std::panic::catch_unwind(|| with_value(&NUMBER, 4, || panic!("on purpose")));
        assert!(left.is_err() && NUMBER.get() == 1);
    }
}
