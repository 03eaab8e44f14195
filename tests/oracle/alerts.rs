use super::folder;
#[test]
fn alerts() {
    let _ = folder();
}
