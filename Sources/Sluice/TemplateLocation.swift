import BlockStorage
import Foundation
import SystemPackage
import Templates

/// Where an operator says that a template is: a path or a URL.
public enum TemplateLocation {
    /// What URLs this build cannot read yet begin with.
    private static let unreadable = ["http", "https", "ftp", "nfs", "data"]

    /// The source at `text`: the path of a file of this host, or a `file:` URL of one.
    ///
    /// Throws `notSupported` for the other URLs and for metalinks, and `invalidArgument` for what names no file.
    public static func source(_ text: String) throws(StorageError) -> any TemplateSource {
        let scheme = text.prefix { $0 != ":" }.lowercased()
        if scheme.count < text.count, scheme != "file", unreadable.contains(scheme) || text.contains("://") {
            // Never more of a URL than its scheme: there may be a password in it.
            throw StorageError(
                .notSupported, "open template source", at: "\(scheme):…",
                why: "this version of sluice imports files of this host only: download it, and import the file")
        }
        let path = scheme == "file" && scheme.count < text.count ? try filePath(text) : text
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw StorageError(.invalidArgument, "open template source", at: text, why: "it names no file")
        }
        if [".metalink", ".meta4"].contains(where: path.lowercased().hasSuffix) {
            throw StorageError(
                .notSupported, "open template source", at: path,
                why: "this version of sluice reads no metalinks: give the file itself, with --checksum")
        }
        return FileTemplateSource(path: FilePath(path))
    }

    /// The path of `file:/PATH`, `file:///PATH` or `file://localhost/PATH`.
    private static func filePath(_ url: String) throws(StorageError) -> String {
        var rest = url.dropFirst("file:".count)
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            if rest.hasPrefix("localhost/") { rest = rest.dropFirst("localhost".count) }
        }
        guard rest.hasPrefix("/"), let path = String(rest).removingPercentEncoding else {
            throw StorageError(
                .invalidArgument, "open template source", at: url, why: "use file:///PATH, with %XX for odd characters")
        }
        return path
    }
}
