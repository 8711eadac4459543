#if ISCSI
    import BlockStorage
    import Foundation
    import NIOSSL
    import SystemPackage
    import Testing

    @testable import ElementAPI

    @Suite struct TrustTests {
        /// A key and a certificate of its own, in files.
        private struct Identity {
            let directory: URL
            let certificate: String
            let key: String

            init(_ name: String = "IP:127.0.0.1") throws {
                directory = FileManager.default.temporaryDirectory.appending(
                    path: "sluice-element-\(UUID().uuidString)")
                try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
                certificate = directory.appending(path: "certificate.pem").path
                key = directory.appending(path: "key.pem").path
                try Self.openssl(
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=array", "-addext", "subjectAltName=\(name)", "-keyout", key, "-out", certificate)
            }

            @discardableResult
            static func openssl(_ arguments: String...) throws -> String {
                let process = Process()
                process.executableURL = URL(filePath: "/usr/bin/env")
                process.arguments = ["openssl"] + arguments
                let output = Pipe()
                process.standardInput = FileHandle.nullDevice
                process.standardOutput = output
                process.standardError = FileHandle.nullDevice
                try process.run()
                let text = output.fileHandleForReading.readDataToEndOfFile()
                process.waitUntilExit()
                try #require(process.terminationStatus == 0)
                return String(decoding: text, as: UTF8.self)
            }

            /// As people see it.
            func fingerprint() throws -> String {
                let text = try Self.openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256")
                return String(text.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: "=")[1])
            }

            func serve() async throws -> ScriptedArray {
                let tls = TLSConfiguration.makeServerConfiguration(
                    certificateChain: try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) },
                    privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
                return try await ScriptedArray(tls: tls) {
                    $0.method == "GetAPI" ? nil : .result(Example.volumes(Example.volume(1)))
                }
            }

            func remove() { try? FileManager.default.removeItem(at: directory) }
        }

        private func code(_ array: ScriptedArray, _ trust: ElementEndpoint.Trust) async throws -> StorageError.Code? {
            let client = try array.client(trust: trust)
            do throws(StorageError) {
                let volumes = try await client.volumes()
                #expect(volumes.count == 1)
                return nil
            } catch {
                return error.code
            }
        }

        @Test("the array is the one with the certificate that is meant; to another goes no request")
        func fingerprint() async throws {
            let (array, other) = (try Identity("DNS:elsewhere.example"), try Identity())
            defer {
                array.remove()
                other.remove()
            }
            let server = try await array.serve()
            let right = try CertificateFingerprint(array.fingerprint())
            #expect(right.description == (try array.fingerprint()))
            #expect(try await code(server, .certificate(right)) == nil)
            let count = server.allCalls.count
            let wrong = try CertificateFingerprint(other.fingerprint())
            #expect(try await code(server, .certificate(wrong)) == .authenticationFailed)
            #expect(server.allCalls.count == count)
            try await server.close()
        }

        @Test("the array is the one that an authority vouches for, under the name that it is asked by")
        func authorities() async throws {
            let (array, other, elsewhere) = (try Identity(), try Identity(), try Identity("DNS:elsewhere.example"))
            defer { for identity in [array, other, elsewhere] { identity.remove() } }
            let server = try await array.serve()
            #expect(try await code(server, .authorities(FilePath(array.certificate))) == nil)
            let count = server.allCalls.count
            #expect(try await code(server, .authorities(FilePath(other.certificate))) == .authenticationFailed)
            #expect(try await code(server, .system) == .authenticationFailed)
            #expect(server.allCalls.count == count)
            let misnamed = try await elsewhere.serve()
            #expect(
                try await code(misnamed, .authorities(FilePath(elsewhere.certificate))) == .authenticationFailed)
            #expect(misnamed.allCalls.isEmpty)
            try await server.close()
            try await misnamed.close()
        }

        @Test("a file without certificates is an invalid argument")
        func noAuthorities() async throws {
            for path in ["/dev/null", "/nonexistent"] {
                let endpoint = ElementEndpoint(
                    host: "127.0.0.1", user: "admin", password: .init("secret"),
                    trust: .authorities(FilePath(path)))
                let error = #expect(throws: StorageError.self) { _ = try ElementClient(endpoint) }
                #expect(error?.code == .invalidArgument)
            }
        }

        @Test("nothing is sent in the clear to a server that does not speak TLS")
        func plainServer() async throws {
            let server = try await ScriptedArray { _ in nil }
            let code = try await code(server, .system)
            #expect(code == .authenticationFailed || code == .connectionLost)
            #expect(server.allCalls.isEmpty)
            try await server.close()
        }

        @Test(
            "what is no SHA-256 fingerprint is refused",
            arguments: [
                "", "AB", String(repeating: "g", count: 64), String(repeating: "a", count: 63),
                String(repeating: "a", count: 65), String(repeating: "a:", count: 32),
                String(repeating: "é", count: 32), String(repeating: "a", count: 64) + ":",
            ])
        func badFingerprints(text: String) {
            let error = #expect(throws: StorageError.self) { _ = try CertificateFingerprint(text) }
            #expect(error?.code == .invalidArgument)
        }
    }
#endif
