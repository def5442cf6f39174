//! Rules of the house that the compiler does not know: who may name whom, how long a file may be, where unsafe code is.
//!
//! Each test reads the sources and lists every place that breaks its rule, so that one run shows all there is to do.

use std::fs;
use std::path::{Path, PathBuf};

/// A module of `src` and the modules it may name, besides itself and [`FLOOR`].
struct Layer {
    module: &'static str,
    may_name: &'static [&'static [&'static str]],
}

const fn layer(module: &'static str, may_name: &'static [&'static [&'static str]]) -> Layer {
    Layer { module, may_name }
}

/// Open to all; they name only each other.
const FLOOR: &[&str] = &["error", "limits", "time"];
const WORDS: &[&str] = &["encoding", "labels", "sample"];
const WORLD: &[&str] = &["fs"];
const FORMATS: &[&str] = &[
    "chunk",
    "row",
    "piece",
    "tombstone",
    "index",
    "frame",
    "source",
];
const STORES: &[&str] = &["wal", "series", "block", "head"];
const VERBS: &[&str] = &["ingest", "query", "compact", "ship"];
const AWAY: &[&str] = &["remote"];

/// The layers from floor to roof. A new arrow is a change of the design: it goes into `docs/ARCHITECTURE.md` too.
const LAYERS: &[Layer] = &[
    layer("error", &[]),
    layer("limits", &[]),
    layer("time", &[]),
    // Words.
    layer("encoding", &[]),
    layer("labels", &[&["encoding"]]),
    layer("sample", &[]),
    // The world.
    layer("fs", &[&["encoding"]]),
    // Formats: each stands on words; the arrows between formats are these.
    layer("chunk", &[WORDS]),
    layer("row", &[WORDS, &["chunk"]]),
    layer("piece", &[WORDS, &["row", "chunk"]]),
    layer("tombstone", &[WORDS]),
    layer("index", &[WORDS, WORLD]),
    layer("frame", &[WORDS, &["row", "piece"]]),
    layer("source", &[WORDS, &["tombstone", "index"]]),
    // Stores do not know each other, nor verbs.
    layer("wal", &[WORDS, WORLD, FORMATS]),
    layer("series", &[WORDS, WORLD, FORMATS]),
    layer("block", &[WORDS, WORLD, FORMATS]),
    layer("head", &[WORDS, WORLD, FORMATS]),
    layer("ingest", &[WORDS, WORLD, FORMATS, STORES]),
    layer("query", &[WORDS, WORLD, FORMATS, STORES]),
    layer("compact", &[WORDS, WORLD, FORMATS, STORES]),
    layer("ship", &[WORDS, WORLD, FORMATS, STORES]),
    // What is said to other machines: answers are read through a querier.
    layer("remote", &[WORDS, &["chunk"], &["query"]]),
    // The roof.
    layer("db", &[WORDS, WORLD, FORMATS, STORES, VERBS, AWAY]),
];

/// What stands above the layers: it names anything.
const OUTSIDE: &[&str] = &["lib", "bin", "testing", "internals"];

/// The files that hold unsafe code. Each says at the place why it is sound and what it buys.
const UNSAFE_FILES: &[&str] = &["fs/mapped.rs", "row/kernel.rs"];

/// The most lines of a file, without its tests.
const LINES_MAX: usize = 700;

/// Where the tests of a file begin; what follows may name any module.
const TESTS_MARK: &str = "#[cfg(test)]";

#[test]
fn modules_name_only_modules_below() {
    let mut broken = Vec::new();
    for source in sources() {
        if OUTSIDE.contains(&source.module()) || source.is_test() {
            continue;
        }
        let Some(layer) = LAYERS.iter().find(|layer| layer.module == source.module()) else {
            broken.push(format!("{}: its module has no layer", source.name));
            continue;
        };
        for (number, named) in named_modules(source.lines_without_tests()) {
            let named = named.as_str();
            let allowed = named == layer.module
                || FLOOR.contains(&named)
                || layer.may_name.iter().any(|names| names.contains(&named));
            if !allowed {
                let place = source.place(number);
                broken.push(format!("{place}: {} names {named}", layer.module));
            }
        }
    }
    none(&broken, "arrows between modules that LAYERS does not have");
}

#[test]
fn the_layers_have_no_cycle() {
    let place = |module: &str| {
        LAYERS
            .iter()
            .position(|layer| layer.module == module)
            .unwrap_or_else(|| panic!("{module} has no layer"))
    };
    for layer in LAYERS {
        for below in layer.may_name.iter().copied().flatten() {
            assert!(
                place(below) < place(layer.module),
                "{below} is not below {}",
                layer.module
            );
        }
    }
    for group in [FLOOR, WORDS, WORLD, FORMATS, STORES, VERBS, AWAY] {
        assert!(group.iter().all(|module| place(module) < LAYERS.len()));
    }
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| !source.is_test())
        .map(|source| (source, source.lines_without_tests().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines", source.name))
        .collect();
    none(&long, "files that are too long: one idea each");
}

#[test]
fn modules_say_what_they_are_for() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|source| source.name.ends_with("mod.rs"))
        .filter(|source| {
            !["//!", "#![doc"]
                .iter()
                .any(|start| source.text.starts_with(start))
        })
        .map(|source| source.name.clone())
        .collect();
    none(&silent, "modules without documentation at their head");
}

#[test]
fn unsafe_code_is_where_it_is_listed() {
    let mut found = Vec::new();
    for source in sources() {
        if UNSAFE_FILES.contains(&source.name.as_str()) {
            continue;
        }
        for (number, line) in numbered(&source.text) {
            if words(code(line)).any(|word| word == "unsafe") {
                found.push(source.place(number));
            }
        }
    }
    none(
        &found,
        "unsafe code in files that UNSAFE_FILES does not have",
    );
    for name in UNSAFE_FILES {
        assert!(
            source_dir().join(name).is_file(),
            "UNSAFE_FILES names {name}, which is gone"
        );
    }
}

#[test]
fn nothing_is_left_undone() {
    // In two parts, so that this very file does not hold them.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["todo", "!("],
        ["#[ig", "nore"],
        ["super::", "super"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files_under(&crate_dir(), "rs") {
        let text = read(&path);
        for (number, line) in numbered(&text) {
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                found.push(format!("{}:{number}: {mark}", path.display()));
            }
        }
    }
    none(&found, "things to do, or to leave out");
}

#[test]
fn dependencies_say_why() {
    let manifest = read(&crate_dir().join("Cargo.toml"));
    let mut silent = Vec::new();
    let mut in_dependencies = false;
    let mut explained = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        }
        // One comment speaks for the lines below it up to the next empty one.
        match line.chars().next() {
            None | Some('[') => explained = false,
            Some('#') => explained = true,
            Some(_) if in_dependencies && !explained => silent.push(line.to_owned()),
            Some(_) => {}
        }
    }
    none(
        &silent,
        "dependencies without a comment above that says why not ourselves",
    );
}

#[test]
fn links_lead_somewhere() {
    let root = crate_dir().join("..");
    let mut documents = vec![root.join("README.md")];
    documents.extend(files_under(&root.join("docs"), "md"));
    documents.extend(files_under(&source_dir(), "md"));
    let mut dangling = Vec::new();
    for document in documents.iter().filter(|document| document.is_file()) {
        let text = read(document);
        for target in links(&text) {
            let dir = document.parent().expect("a file lies in a directory");
            if !dir.join(target).exists() {
                dangling.push(format!("{}: {target}", document.display()));
            }
        }
    }
    none(&dangling, "links to files that do not exist");
}

#[test]
fn the_readers_of_this_file_see_what_they_look_for() {
    let named = |text| {
        let named = named_modules(numbered(text)).into_iter();
        named
            .map(|(number, name)| format!("{number} {name}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(named("use crate::labels::Labels;"), ["1 labels"]);
    assert_eq!(
        named("\nuse crate::{\n    fs,\n    index::{self, Index},\n    wal,\n};\nuse x::{y, z};"),
        ["2 fs", "2 index", "2 wal"]
    );
    assert_eq!(
        named("let a = crate::head::open(crate::db::X, y);\ncrate::fs::sync()"),
        ["1 head", "1 db", "2 fs"]
    );
    assert!(named("/// See [`crate::db::Db`].").is_empty());
    assert_eq!(
        links("[a](b.md) [c](https://d) [e](f/g.md#h) [i](#j) `[k](l)`\n```\n[m](n)\n```")
            .collect::<Vec<_>>(),
        ["b.md", "f/g.md"]
    );
    assert!(sources().len() > LAYERS.len());
}

/// A file below `src`.
struct Source {
    /// Its path from `src` on, with slashes.
    name: String,
    text: String,
}

impl Source {
    /// Returns the module it belongs to: its first folder, or its own name.
    fn module(&self) -> &str {
        let first = self
            .name
            .split('/')
            .next()
            .expect("a split has a first part");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Tells whether all of it is tests.
    fn is_test(&self) -> bool {
        self.name.ends_with("/tests.rs") || self.name.contains("/tests/")
    }

    /// Returns its numbered lines up to the tests at its end.
    fn lines_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.tests_start();
        numbered(&self.text).take_while(move |(number, _)| *number < end)
    }

    /// Returns the number of the line that marks the tests: the mark right above a module named `tests`, for the same
    /// mark may stand above a single import or function before.
    fn tests_start(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_start = |pair: &[&str]| pair[0] == TESTS_MARK && pair[1].starts_with("mod tests");
        let start = lines.windows(2).position(is_start);
        start.map_or(usize::MAX, |index| index + 1)
    }

    fn place(&self, number: usize) -> String {
        format!("src/{}:{number}", self.name)
    }
}

fn sources() -> Vec<Source> {
    let dir = source_dir();
    let files = files_under(&dir, "rs").into_iter();
    files
        .map(|path| {
            let inside = path.strip_prefix(&dir).expect("it was found there");
            Source {
                name: inside.to_string_lossy().replace('\\', "/"),
                text: read(&path),
            }
        })
        .collect()
}

/// Returns what numbered lines name right behind `crate::`, with the number of the line that says `crate`.
fn named_modules<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    // A list in braces may go on for lines, so the lines are read as one text.
    let (numbers, lines): (Vec<usize>, Vec<&str>) =
        lines.map(|(number, line)| (number, code(line))).unzip();
    let mut line_index = 0;
    for (index, tail) in lines.join("\n").split("crate::").enumerate() {
        if index > 0 {
            named.extend(first_parts(tail).map(|part| (numbers[line_index], part)));
        }
        line_index += tail.matches('\n').count();
    }
    named
}

/// Returns the first part of a path, or of each path in the braces it begins with.
fn first_parts(path: &str) -> impl Iterator<Item = String> {
    let mut depth = 0;
    let mut shallow = String::new();
    for letter in path.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if depth <= 1 {
            shallow.push(letter);
        }
        if depth == 0 && !(letter.is_alphanumeric() || letter == '_') {
            break;
        }
    }
    let paths: Vec<String> = shallow
        .split(',')
        .filter_map(|path| words(path).next().map(str::to_owned))
        .collect();
    paths.into_iter()
}

/// Returns the targets of the links to files in a document, without what stands in code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").step_by(2);
    let prose = blocks.flat_map(|block| block.split('`').step_by(2));
    prose
        .flat_map(|prose| prose.split("](").skip(1))
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
}

/// Returns a line without the comment at its end.
fn code(line: &str) -> &str {
    line.split("//").next().expect("a split has a first part")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Lists the files below `dir` with this extension, sorted; none if there is no such directory.
fn files_under(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a directory can be listed to its end").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source_dir() -> PathBuf {
    crate_dir().join("src")
}

fn none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
