import BlockStorage
import Foundation
import SystemPackage
import Templates

/// Where an operator says that a template is: a path or a URL.
public enum TemplateLocation {
    /// The source at `text`: the path of a file of this host, or a `file:`, `http:` or `https:` URL; a metalink, at any
    /// of them, stands for the file that it describes. `download` bounds what servers may do.
    ///
    /// Throws `notSupported` for the other URLs, and `invalidArgument` for what names no file.
    public static func source(
        _ text: String, _ download: DownloadOptions = DownloadOptions()
    ) throws(StorageError) -> any TemplateSource {
        let scheme = text.prefix { $0 != ":" }.lowercased()
        let hasScheme = scheme.count < text.count
        if hasScheme, scheme == "http" || scheme == "https" { return try server(text, download) }
        if hasScheme, scheme != "file", ["ftp", "nfs", "data"].contains(scheme) || text.contains("://") {
            // Never more of a URL than its scheme: there may be a password in it.
            throw StorageError(
                .notSupported, "open template source", at: "\(scheme):…",
                why: "templates come from files of this host, from http: and from https:")
        }
        let path = hasScheme && scheme == "file" ? try filePath(text) : text
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw StorageError(.invalidArgument, "open template source", at: text, why: "it names no file")
        }
        return try file(FilePath(path), download)
    }

    #if Downloads
        private static func server(
            _ url: String, _ download: DownloadOptions
        ) throws(StorageError) -> any TemplateSource { try DownloadSource(url: url, download) }

        private static func file(
            _ path: FilePath, _ download: DownloadOptions
        ) throws(StorageError) -> any TemplateSource {
            DownloadSource.isMetalink(path.string)
                ? DownloadSource(metalink: path, download) : FileTemplateSource(path: path)
        }
    #else
        private static func server(
            _ url: String, _ download: DownloadOptions
        ) throws(StorageError) -> any TemplateSource {
            throw StorageError(
                .notSupported, "open template source", at: "\(url.prefix { $0 != ":" }):…",
                why: "this build downloads nothing: download it, and import the file")
        }

        private static func file(
            _ path: FilePath, _ download: DownloadOptions
        ) throws(StorageError) -> any TemplateSource { FileTemplateSource(path: path) }
    #endif

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
