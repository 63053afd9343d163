//! Any text as a training option file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vrt_model::option_file;

fuzz_target!(|text: &str| {
    let _ = option_file::from_json(text);
    if let Ok(config) = option_file::read(text) {
        let again = option_file::from_json(&option_file::to_json(&config).to_string());
        assert_eq!(again.ok(), Some(config), "a configuration survives JSON");
    }
});
