//! Do the loaded plugins satisfy what the rules files require?

use super::item::PluginVersion;

/// Is `have` good enough for `want`: same major version, and not older?
fn compatible(have: &semver::Version, want: &semver::Version) -> bool {
    have.major == want.major && have >= want
}

/// Checks every group of alternatives; the error lists the first that nothing satisfies.
pub fn check(required: &[Vec<PluginVersion>], loaded: &[PluginVersion]) -> Result<(), String> {
    for group in required {
        // The first of the group that is loaded decides.
        let chosen = group.iter().find_map(|want| {
            loaded.iter().find(|have| have.name == want.name).map(|have| compatible(&have.version, &want.version))
        });
        if chosen != Some(true) {
            let names: Vec<_> = group.iter().map(|p| format!("{}:{}", p.name, p.version)).collect();
            return Err(format!("Plugin requirement not satisfied, must load one of: {}", names.join(", ")));
        }
    }
    Ok(())
}
