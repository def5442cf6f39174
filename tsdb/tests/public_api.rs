//! The public surface as a text that is checked in, so that a change of it shows up as a change of that text.
//!
//! A scanner reads what `lib.rs` exports and the declarations behind it. It knows the few shapes this crate is written
//! in, not Rust. `UPDATE_PUBLIC_API=1` writes the text anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn public_api_is_the_one_that_is_checked_in() {
    let path = crate_dir().join("../docs/public-api.txt");
    let surface = surface();
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        write(&path, &surface);
    }
    let known = read(&path);
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) =
        (known.lines().collect(), surface.lines().collect());
    let gone: Vec<String> = old
        .difference(&new)
        .map(|line| format!("- {line}"))
        .collect();
    let come: Vec<String> = new
        .difference(&old)
        .map(|line| format!("+ {line}"))
        .collect();
    assert!(
        known == surface,
        "the public API is not docs/public-api.txt; UPDATE_PUBLIC_API=1 writes it anew\n{}\n{}",
        gone.join("\n"),
        come.join("\n")
    );
}

#[test]
fn the_scanner_sees_what_it_looks_for() {
    let text = "\
#[derive(Debug, Clone)]
pub struct A {
    /// Told.
    pub x: u8,
    y: u16,
}
#[non_exhaustive]
#[must_use = \"{\"]
pub struct B<'a>(&'a str);
impl<'a> Iterator for B<'a> {}
pub(crate) struct Hidden;
impl A {
    pub fn make(
        x: u8,
    ) -> Self {
        if x > 0 { A { x, y: 1 } } else { todo() }
    }
    fn private(&self) {}
}
impl fmt::Debug for A {
    fn fmt(&self) {}
}
pub enum E {
    /// One.
    One,
    Two { a: u8 },
}
pub trait T: Send {
    fn must(&self) -> u8;
    fn may(&self) -> bool {
        true
    }
}
pub const C: u8 = 3;
";
    let items = scan(&Source::new(text));
    let lines = |name: &str| {
        items
            .get(name)
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines("A"),
        [
            "derive Clone, Debug",
            "field x: u8",
            "impl fmt::Debug",
            "pub fn make(x: u8) -> Self",
            "pub struct A"
        ]
    );
    assert_eq!(
        lines("B"),
        ["impl Iterator", "non_exhaustive", "pub struct B<'a>(..)"]
    );
    assert_eq!(
        lines("E"),
        ["pub enum E", "variant One", "variant Two { a: u8 }"]
    );
    assert_eq!(
        lines("T"),
        [
            "fn may(&self) -> bool",
            "fn must(&self) -> u8",
            "pub trait T: Send"
        ]
    );
    assert_eq!(lines("C"), ["pub const C: u8 = 3"]);
    assert!(lines("Hidden").is_empty());
    assert_eq!(
        exports("pub use a::{B, c};\npub use d::E;\nuse f::G;"),
        [("a", "B"), ("a", "c"), ("d", "E")].map(owned)
    );
}

/// Writes down everything `lib.rs` exports.
fn surface() -> String {
    let root = read(&source_dir().join("lib.rs"));
    // Path outside, module inside, name.
    let mut exported: Vec<(String, String, String)> = Vec::new();
    for (module, name) in exports(&root) {
        exported.push((format!("tsdb::{name}"), module, name));
    }
    for module in public_modules(&root) {
        let head = read(&module_files(&module)[0]);
        for (_, name) in exports(&head) {
            exported.push((format!("tsdb::{module}::{name}"), module.clone(), name));
        }
        for name in scan(&Source::new(&head)).into_keys() {
            exported.push((format!("tsdb::{module}::{name}"), module.clone(), name));
        }
    }
    exported.sort();
    exported.dedup();
    let mut scanned: BTreeMap<String, Items> = BTreeMap::new();
    let mut written: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut text = String::new();
    for (path, module, name) in exported {
        let items = scanned
            .entry(module.clone())
            .or_insert_with(|| scan_module(&module));
        let lines = items
            .get(&name)
            .unwrap_or_else(|| panic!("{path}: no declaration of it in module {module}"));
        text.push_str(&path);
        text.push('\n');
        // What has two paths is written out under the first.
        if let Some(first) = written.get(&(module.clone(), name.clone())) {
            text.extend(["    is ", first, "\n"]);
            continue;
        }
        for line in lines {
            text.extend(["    ", line, "\n"]);
        }
        written.insert((module, name), path);
    }
    text
}

/// Lines by the name of the item they belong to.
type Items = BTreeMap<String, BTreeSet<String>>;

fn scan_module(module: &str) -> Items {
    let mut items = Items::new();
    for file in module_files(module) {
        for (name, lines) in scan(&Source::new(&read(&file))) {
            items.entry(name).or_default().extend(lines);
        }
    }
    items
}

/// The top-level items of a source, without its tests.
struct Source {
    /// Everything before an item's braces, and what is in the braces.
    items: Vec<(String, String)>,
}

impl Source {
    fn new(text: &str) -> Self {
        let lines: Vec<&str> = text
            .lines()
            .take_while(|line| !line.starts_with("mod tests"))
            .collect();
        Self {
            items: split_items(&clean(&lines.join("\n"))),
        }
    }
}

/// Attributes that belong to the surface.
const KEPT: [&str; 2] = ["#[derive(", "#[non_exhaustive]"];

/// Removes comments and attributes that are not [`KEPT`], and from literals what would look like structure.
fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('#')
            && !KEPT.iter().any(|kept| rest.starts_with(kept))
            && rest.trim_start_matches(['#', '!']).starts_with('[')
        {
            attribute_len(rest)
        } else {
            let literal = literal_len(rest);
            let taken = if literal > 0 {
                literal
            } else {
                letter.len_utf8()
            };
            let (piece, _) = rest.split_at(taken);
            let is_structure = |letter: char| literal > 0 && "{}()[]<>;,#".contains(letter);
            out.extend(
                piece
                    .chars()
                    .map(|letter| if is_structure(letter) { '_' } else { letter }),
            );
            taken
        };
        (_, rest) = rest.split_at(taken);
    }
    out
}

fn attribute_len(text: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        if letter == ']' && depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Returns the length of the string or character a text begins with, or 0.
fn literal_len(text: &str) -> usize {
    for (start, end) in [("r#\"", "\"#"), ("r\"", "\"")] {
        if let Some(raw) = text.strip_prefix(start) {
            return raw
                .find(end)
                .map_or(text.len(), |at| start.len() + at + end.len());
        }
    }
    let quote = match text.chars().next() {
        Some('"') => '"',
        // A lifetime has no quote behind its first letter.
        Some('\'') if text.starts_with("'\\") || text.chars().nth(2) == Some('\'') => '\'',
        _ => return 0,
    };
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        if letter == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    text.len()
}

/// Splits a text into items: a head, and the content of the braces behind it if there are any.
fn split_items(text: &str) -> Vec<(String, String)> {
    let mut items = Vec::new();
    let (mut head, mut body, mut depth, mut brackets) = (String::new(), String::new(), 0, 0);
    for letter in text.chars() {
        match (letter, depth) {
            ('{', 0) if brackets == 0 => depth = 1,
            ('{', _) if brackets == 0 => {
                depth += 1;
                body.push(letter);
            }
            ('}', 1) if brackets == 0 => {
                depth = 0;
                items.push((one_line(&head), std::mem::take(&mut body)));
                head.clear();
            }
            ('}', _) if brackets == 0 => {
                depth -= 1;
                body.push(letter);
            }
            (';', 0) if brackets == 0 => {
                items.push((one_line(&head), String::new()));
                head.clear();
            }
            (_, 0) => {
                brackets +=
                    i32::from(matches!(letter, '(' | '[')) - i32::from(matches!(letter, ')' | ']'));
                head.push(letter);
            }
            _ => body.push(letter),
        }
    }
    if !head.trim().is_empty() {
        items.push((one_line(&head), String::new()));
    }
    items
}

/// Collects what the items of a source say of public names.
fn scan(source: &Source) -> Items {
    let mut items = Items::new();
    for (head, body) in &source.items {
        let (attributes, head) = split_attributes(head);
        let words: Vec<&str> = head
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty())
            .collect();
        if words.first() == Some(&"impl") {
            let implemented = behind_generics(head.trim_start_matches("impl"));
            let (of_trait, name) = match implemented.split_once(" for ") {
                Some((of_trait, name)) => (Some(of_trait), name),
                None => (None, implemented),
            };
            let name = name.split('<').next().unwrap_or_default().trim().to_owned();
            let lines = items.entry(name).or_default();
            match of_trait {
                Some(of_trait) => {
                    lines.insert(format!("impl {of_trait}"));
                }
                None => lines.extend(
                    split_items(body)
                        .into_iter()
                        .map(|(head, _)| head)
                        .filter(|head| head.starts_with("pub ")),
                ),
            }
        } else if head.starts_with("setters!") {
            let lines = items.entry("Options".to_owned()).or_default();
            for setter in body
                .split(';')
                .map(one_line)
                .filter(|setter| !setter.is_empty())
            {
                let (name, field) = setter.split_once(" => ").expect("a setter names its field");
                lines.insert(format!("pub fn {name}(self, {field}) -> Self"));
            }
        } else if head.starts_with("pub ") && !matches!(words.get(1), Some(&("use" | "mod"))) {
            let is_kind =
                |word: &&str| matches!(*word, "struct" | "enum" | "trait" | "type" | "fn");
            let at = words
                .iter()
                .position(is_kind)
                .or_else(|| words.iter().position(|word| *word == "const"));
            let Some(name) = at.and_then(|at| words.get(at + 1)) else {
                continue;
            };
            let lines = items.entry((*name).to_owned()).or_default();
            // What a tuple of private fields holds is nobody's business.
            lines.insert(match head.split_once('(') {
                Some((head, fields))
                    if words.get(1) == Some(&"struct") && !fields.contains("pub ") =>
                {
                    format!("{head}(..)")
                }
                _ => head.to_owned(),
            });
            lines.extend(attributes);
            match words.get(1) {
                Some(&"struct") => lines
                    .extend(parts(body).filter_map(|field| {
                        Some(format!("field {}", field.strip_prefix("pub ")?))
                    })),
                Some(&"enum") => {
                    lines.extend(parts(body).map(|variant| format!("variant {variant}")));
                }
                Some(&"trait") => lines.extend(
                    split_items(body)
                        .into_iter()
                        .map(|(head, _)| head)
                        .filter(|head| !head.is_empty()),
                ),
                _ => {}
            }
        }
    }
    // Impls of what is not declared here, or not public, belong to another file's item or to none.
    items
}

/// Takes the attributes off the front of an item, and says them in words.
fn split_attributes(head: &str) -> (BTreeSet<String>, &str) {
    let mut attributes = BTreeSet::new();
    let mut rest = head;
    while let Some((attribute, behind)) = rest
        .strip_prefix("#[")
        .and_then(|rest| rest.split_once(']'))
    {
        match attribute
            .strip_prefix("derive(")
            .and_then(|names| names.strip_suffix(')'))
        {
            Some(names) => {
                let names: BTreeSet<&str> = names
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .collect();
                attributes.insert(format!(
                    "derive {}",
                    names.into_iter().collect::<Vec<_>>().join(", ")
                ));
            }
            None => {
                attributes.insert(attribute.to_owned());
            }
        }
        rest = behind.trim_start();
    }
    (attributes, rest)
}

/// Returns what stands behind the generics a text begins with.
fn behind_generics(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        if depth == 0 {
            return text.split_at(at + letter.len_utf8()).1.trim_start();
        }
    }
    text
}

/// Splits the body of a struct or enum at the commas between its parts.
fn parts(body: &str) -> impl Iterator<Item = String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for letter in body.chars() {
        depth += i32::from(matches!(letter, '(' | '[' | '{' | '<'))
            - i32::from(matches!(letter, ')' | ']' | '}' | '>'));
        if letter == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
    }
    parts.push(part);
    parts
        .into_iter()
        .map(|part| one_line(&part))
        .filter(|part| !part.is_empty())
}

/// Returns a text in one line, as it would be if it fitted.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("( ", "(")
        .replace(", )", ")")
        .replace(" )", ")")
        .replace(", }", " }")
        .replace("[ ", "[")
        .replace(", ]", "]")
        .replace(", >", ">")
}

/// Returns the module and name of everything a source exports from its modules.
fn exports(text: &str) -> Vec<(String, String)> {
    let mut exports = Vec::new();
    for statement in text.split("pub use ").skip(1) {
        let statement = one_line(statement.split(';').next().unwrap_or_default());
        let (module, names) = statement
            .split_once("::")
            .expect("an export comes from a module");
        let names = names.trim_matches(['{', '}']);
        exports.extend(
            names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(|name| owned((module, name))),
        );
    }
    exports
}

fn owned((module, name): (&str, &str)) -> (String, String) {
    (module.to_owned(), name.to_owned())
}

/// Returns the modules that are public; the hidden one for the benches of this repository is not.
fn public_modules(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    lines
        .filter_map(|line| line.strip_suffix(';'))
        .filter(|module| *module != "internals")
        .map(str::to_owned)
        .collect()
}

/// Returns the files of a module, its head first; without tests.
fn module_files(module: &str) -> Vec<PathBuf> {
    let dir = source_dir().join(module);
    if !dir.is_dir() {
        return vec![source_dir().join(format!("{module}.rs"))];
    }
    let mut files = vec![dir.join("mod.rs")];
    let mut dirs = vec![dir];
    while let Some(dir) = dirs.pop() {
        let mut paths: Vec<PathBuf> = fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| entry.expect("a directory can be listed to its end").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
                && path != files[0]
            {
                files.push(path);
            }
        }
    }
    files
}

#[expect(clippy::disallowed_methods, reason = "a test writes its own text")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
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
