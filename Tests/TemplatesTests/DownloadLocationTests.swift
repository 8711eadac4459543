#if Downloads
    import BlockStorage
    import Testing

    @testable import Templates

    @Suite struct DownloadLocationTests {
        @Test("passwords, queries and fragments are asked with and never printed")
        func hidesSecrets() throws {
            let location = try DownloadLocation("https://user:p%40ss@Example.org:8443/a/disk.raw?token=secret#part")
            #expect(location.description == "https://Example.org:8443/a/disk.raw?…")
            #expect(location.url == "https://Example.org:8443/a/disk.raw?token=secret")
            #expect(location.fileName == "disk.raw")
            #expect(location.authorization?.headerValue == "Basic dXNlcjpwQHNz")
            let given = try DownloadLocation("https://a:b@host/", DownloadCredentials(userAndPassword: "user:p@ss"))
            #expect(given.authorization == location.authorization)
            var text = "\(given) \(String(reflecting: given.authorization))"
            dump(location.authorization, to: &text)
            #expect(!text.contains("dXNl"))
        }

        @Test("a redirect keeps the password for the same server, and for no other")
        func redirects() throws {
            let start = try DownloadLocation("https://user:secret@a.example/x/disk.raw")
            #expect(try start.redirected(to: "../y").url == "https://a.example/y")
            #expect(try start.redirected(to: "../y").authorization != nil)
            #expect(try start.redirected(to: "https://A.example:443/y").authorization != nil)
            for other in ["https://b.example/y", "https://a.example:8443/y", "//b.example/y", "https://x:y@b.example/"]
            {
                #expect(try start.redirected(to: other).authorization == nil)
            }
        }

        @Test("redirects never leave http and https, nor give up encryption")
        func refusesRedirects() throws {
            let start = try DownloadLocation("https://a.example/x")
            for (target, code) in [
                ("http://a.example/x", StorageError.Code.permissionDenied), ("file:///etc/passwd", .notSupported),
                ("ftp://a.example/", .notSupported), ("javascript:0", .notSupported), ("http://", .invalidArgument),
                ("https://a.example/ b", .invalidArgument), ("unix:/run/docker.sock", .notSupported),
            ] {
                let error = #expect(throws: StorageError.self) { try start.redirected(to: target) }
                #expect(error?.code == code, "\(target): \(String(describing: error))")
            }
            #expect(try DownloadLocation("http://a.example/x").redirected(to: "https://b.example/").isSecure)
        }

        @Test(
            "what is no URL is refused, and not repeated",
            arguments: [
                "http://user:secret@", "http://us er:secret@host/", "http://host:99999/secret", "http:secret",
                "https:///secret", "http://[secret/", "http://host/\u{e9}secret",
            ])
        func refuses(text: String) throws {
            let error = #expect(throws: StorageError.self) { try DownloadLocation(text) }
            #expect(error?.code == .invalidArgument)
            #expect(error?.description.contains("secret") == false)
        }

        @Test("ranges in answers are read strictly")
        func readsContentRange() {
            let good = HTTPAnswer.ContentRange("bytes 5-9/10")
            #expect(good?.bytes == 5..<10 && good?.total == 10)
            #expect(HTTPAnswer.ContentRange("bytes */10")?.bytes == nil)
            #expect(HTTPAnswer.ContentRange("bytes 0-1/*")?.total == nil)
            for text in [
                "", "bytes", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10", "bytes -5/10", "lines 1-2/3",
                "bytes 0-18446744073709551615/*", "bytes 1-2/x", "bytes 1-2/3/4",
            ] { #expect(HTTPAnswer.ContentRange(text) == nil, "\(text)") }
        }
    }
#endif
