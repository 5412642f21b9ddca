//! Patterns with `*` in them.

/// A text in which `*` stands for any text, and everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the stars, in order. At least one.
    parts: Vec<String>,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self { parts: text.split('*').map(String::from).collect() }
    }

    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return text == first };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        // The earliest place of each part leaves the most for those behind it.
        for part in middle {
            match text.find(part.as_str()).and_then(|at| text.get(at.saturating_add(part.len())..)) {
                Some(behind) => text = behind,
                None => return false,
            }
        }
        text.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("/admin", "/admin", true),
            ("/admin", "/admin/", false),
            ("/admin*", "/admin/x", true),
            ("*.php", "/a/b.php", true),
            ("*.php", "/a/b.php5", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("*a*b*", "xxaybz", true),
            ("*a*b*", "xxbyaz", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }
}
